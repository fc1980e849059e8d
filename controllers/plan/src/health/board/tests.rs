use evenkeel_api::record::Observed;

use super::*;

const ID: &str = "shop.web.1.a";

fn copy(started: i64, state: InstanceState, desired: Desired) -> LocalInstance {
    let observed = Observed {
        state,
        since: Timestamp(started),
        addresses: [("lan".parse().unwrap(), "10.88.1.10".parse().unwrap())].into(),
        ports: Vec::new(),
        restarts: 0,
        started: Some(Timestamp(started)),
        engine_health: None,
        digest: None,
    };
    LocalInstance { desired, observed, ports: Vec::new() }
}

fn running(started: i64) -> LocalInstance {
    copy(started, InstanceState::Running, Desired::Run)
}

fn check(revision: i64, fields: &str) -> Check {
    let text = format!(r#"{{"target": {{"service": "web"}}, "type": "tcp", "port": 80{fields}}}"#);
    Check { revision, spec: serde_json::from_str(&text).unwrap() }
}

/// A board with its world and its clock.
struct World {
    board: Board,
    copies: BTreeMap<InstanceId, LocalInstance>,
    checks: BTreeMap<CheckId, Check>,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            board: Board::default(),
            copies: [(ID.parse().unwrap(), running(1))].into(),
            checks: [("shop/tcp".parse().unwrap(), check(5, r#", "interval": "1s", "retries": 2"#))].into(),
            now: Duration::from_secs(100),
        };
        world.update();
        world
    }

    fn update(&mut self) -> Vec<Transition> {
        self.board.update(&self.copies, &self.checks, self.now, self.wall())
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.now.as_millis() as i64)
    }

    /// Goes on to the next question and answers it; gives how long that took, and what it changed.
    fn answer(&mut self, pass: bool) -> (Duration, Option<Transition>) {
        let waited = self.board.next().unwrap().saturating_sub(self.now);
        self.now += waited;
        let job = self.board.take(self.now).unwrap();
        let answer = if pass { Answer::pass("open") } else { Answer::fail("refused") };
        (waited, self.board.hear(&job, answer, self.now, self.wall(), 512))
    }

    fn set(&mut self, copy: LocalInstance) {
        self.copies.insert(ID.parse().unwrap(), copy);
        self.update();
    }

    fn state(&self) -> Option<(Verdict, i64, &str)> {
        let health = self.board.health().get(&ID.parse::<InstanceId>().unwrap())?;
        let state = health.checks.get("tcp")?;
        Some((state.verdict, state.revision, state.evidence.as_str()))
    }
}

#[test]
fn a_new_copy_is_asked_at_once_then_quickly_then_at_its_pace() {
    let mut world = World::new();
    let (waited, told) = world.answer(false);
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(told.map(|t| (t.from, t.to)), Some((None, Verdict::Starting)));
    assert_eq!(world.answer(false), (Duration::from_millis(200), None));
    let (waited, told) = world.answer(true);
    assert_eq!(waited, Duration::from_millis(200));
    assert_eq!(told.map(|t| (t.from, t.to)), Some((Some(Verdict::Starting), Verdict::Healthy)));
    let (phase, told) = world.answer(true);
    assert!(phase <= Duration::from_secs(1) && told.is_none());
    for _ in 0..3 {
        let (pace, told) = world.answer(true);
        assert!(pace > Duration::from_millis(890) && pace < Duration::from_millis(1110), "{pace:?}");
        assert!(told.is_none(), "calm means silent");
    }
}

#[test]
fn only_transitions_are_told_and_recovery_is_one() {
    let mut world = World::new();
    world.answer(true);
    let told: Vec<_> = [false, false, false, true].map(|pass| world.answer(pass).1.map(|t| t.to)).into();
    assert_eq!(told, [None, Some(Verdict::Unhealthy), None, Some(Verdict::Healthy)]);
}

#[test]
fn a_new_run_starts_afresh_and_a_stopped_one_is_not_asked() {
    let mut world = World::new();
    world.answer(true);
    world.set(copy(1, InstanceState::Exited { code: 1, oom: false }, Desired::Run));
    assert_eq!(world.board.next(), None);
    assert_eq!(world.state(), Some((Verdict::Healthy, 5, "open")), "of the last run");
    world.set(running(2));
    let (waited, told) = world.answer(false);
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(told.map(|t| (t.from, t.to)), Some((None, Verdict::Starting)));
    world.set(copy(2, InstanceState::Running, Desired::Drain));
    assert!(world.board.next().is_some());
    world.set(copy(2, InstanceState::Running, Desired::Stop));
    assert_eq!(world.board.next(), None);
    world.copies.clear();
    world.update();
    assert!(world.board.health().is_empty());
}

#[test]
fn an_edited_check_keeps_the_verdict_until_it_has_spoken() {
    let mut world = World::new();
    world.answer(true);
    world.checks.insert("shop/tcp".parse().unwrap(), check(9, r#", "interval": "2s", "retries": 2"#));
    assert_eq!(world.update(), []);
    assert_eq!(world.state(), Some((Verdict::Healthy, 5, "open")));
    assert_eq!(world.answer(false).1, None);
    assert_eq!(world.state(), Some((Verdict::Healthy, 5, "open")));
    // It says the same as before: no transition, but now it is the edited check that says so.
    assert_eq!(world.answer(true).1, None);
    assert_eq!(world.state(), Some((Verdict::Healthy, 9, "open")));
    // The same text put again is no edit.
    world.checks.insert("shop/tcp".parse().unwrap(), check(11, r#", "interval": "2s", "retries": 2"#));
    world.update();
    let (pace, _) = world.answer(true);
    assert!(pace > Duration::from_secs(1), "an edit is tried at once: {pace:?}");
}

#[test]
fn answers_to_what_is_no_more_are_not_heard() {
    let mut world = World::new();
    let job = world.board.take(world.now).unwrap();
    world.set(running(2));
    assert_eq!(world.board.hear(&job, Answer::pass("open"), world.now, world.wall(), 0), None);
    assert_eq!(world.state(), None);
    assert_eq!(world.board.take(world.now).map(|job| job.instance.to_string()), Some(ID.to_owned()));
}

#[test]
fn a_restarted_controller_goes_on_with_its_verdicts() {
    let mut world = World::new();
    world.answer(true);
    world.board = Board::new(world.board.health().clone());
    assert_eq!(world.update(), []);
    let (waited, told) = world.answer(false);
    assert!(waited <= RESUME_WITHIN && told.is_none());
    assert_eq!(world.state(), Some((Verdict::Healthy, 5, "open")));
    assert_eq!(world.answer(false).1.map(|t| t.to), Some(Verdict::Unhealthy));
}

#[test]
fn a_copy_that_cannot_be_asked_is_told_of_once_and_not_condemned() {
    let mut world = World::new();
    let named = Check {
        revision: 6,
        spec: serde_json::from_str(r#"{"target": {"service": "web"}, "type": "tcp", "port": "http"}"#)
            .unwrap(),
    };
    world.checks = [("shop/tcp".parse().unwrap(), named)].into();
    world.update();
    assert_eq!(world.state(), Some((Verdict::Starting, 6, "this copy's template has no port named http")));
    assert_eq!(world.update(), []);
    assert_eq!(world.board.next(), None);
}

#[test]
fn checks_of_other_services_and_namespaces_do_not_ask_and_a_removed_one_is_forgotten() {
    let mut world = World::new();
    world.answer(true);
    let tcp = world.checks.remove(&"shop/tcp".parse::<CheckId>().unwrap()).unwrap();
    world.checks.insert("other/tcp".parse().unwrap(), tcp);
    world.update();
    assert_eq!((world.board.next(), world.state()), (None, None));
    assert!(world.board.health().is_empty());
}

#[test]
fn a_question_that_was_not_asked_says_nothing() {
    let mut world = World::new();
    world.answer(true);
    for _ in 0..5 {
        world.now = world.board.next().unwrap();
        let job = world.board.take(world.now).unwrap();
        let unasked = Answer::unasked("the engine is away");
        assert_eq!(world.board.hear(&job, unasked, world.now, world.wall(), 0), None);
    }
    assert_eq!(world.state(), Some((Verdict::Healthy, 5, "open")));
}

#[test]
fn a_question_is_taken_once_it_is_due_and_however_late() {
    for late in [0, 7] {
        let mut world = World::new();
        world.answer(true);
        let due = world.board.next().unwrap();
        assert!(world.board.take(due - Duration::from_millis(1)).is_none());
        assert!(world.board.take(due + Duration::from_secs(late)).is_some());
    }
}
