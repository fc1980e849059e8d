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

#[test]
fn the_version_grows_with_every_change_and_only_then() {
    let mut world = World::new();
    let mut last = world.board.version();
    let mut grew =
        |world: &World| std::mem::replace(&mut last, world.board.version()) < world.board.version();
    world.answer(true);
    assert!(grew(&world), "a verdict");
    world.answer(true);
    world.update();
    assert!(!grew(&world), "nothing new");
    world.checks.clear();
    world.update();
    assert!(grew(&world), "a check is gone");
    let mut world = World::new();
    world.answer(true);
    let before = world.board.version();
    world.copies.clear();
    world.update();
    assert!(world.board.version() > before, "a copy is gone");
}

#[test]
fn a_first_pass_that_is_not_enough_says_nothing() {
    let mut world = World::new();
    world.checks.insert("shop/tcp".parse().unwrap(), check(6, r#", "success_before_passing": 2"#));
    world.update();
    assert_eq!((world.answer(true).1, world.state()), (None, None));
    assert_eq!(world.answer(true).1.map(|t| (t.from, t.to)), Some((None, Verdict::Healthy)));
}

#[test]
fn what_is_asked_anew_is_asked_at_once_and_what_is_not_keeps_its_pace() {
    let paced = || {
        let mut world = World::new();
        world.answer(true);
        world
    };
    let mut world = paced();
    let due = world.board.next();
    assert!(due > Some(world.now));
    world.update();
    assert_eq!(world.board.next(), due);
    world.checks.insert("shop/tcp".parse().unwrap(), check(9, r#", "interval": "2s", "retries": 2"#));
    world.update();
    assert_eq!(world.board.next(), Some(world.now), "an edit");

    let mut world = paced();
    let mut moved = running(1);
    moved.observed.addresses.insert("lan".parse().unwrap(), "10.88.1.99".parse().unwrap());
    world.set(moved);
    let job = world.board.take(world.now).expect("another address");
    assert_eq!(job.question, Question::Tcp { address: "10.88.1.99:80".parse().unwrap() });
}

#[test]
fn a_verdict_that_an_edited_check_confirms_is_as_old_as_before() {
    let mut world = World::new();
    world.answer(true);
    let since = |world: &World| world.board.health()[&ID.parse::<InstanceId>().unwrap()].checks["tcp"].since;
    let first = since(&world);
    world.now += Duration::from_secs(60);
    world.checks.insert("shop/tcp".parse().unwrap(), check(9, r#", "interval": "2s", "retries": 2"#));
    world.update();
    world.answer(true);
    assert_eq!((world.state(), since(&world)), (Some((Verdict::Healthy, 9, "open")), first));
    world.answer(false);
    world.answer(false);
    assert!(since(&world) > first, "it became unhealthy");
}

#[test]
fn nothing_of_an_earlier_run_is_told_with_a_new_one() {
    let mut world = World::new();
    world.checks.insert("shop/other".parse().unwrap(), check(6, ""));
    world.update();
    world.answer(true);
    world.answer(true);
    let health = |world: &World| world.board.health()[&ID.parse::<InstanceId>().unwrap()].clone();
    assert_eq!(health(&world).checks.len(), 2);
    world.set(running(2));
    world.answer(true);
    assert_eq!((health(&world).started, health(&world).checks.len()), (Timestamp(2), 1));
}

/// Five copies of the service, all just started.
fn five() -> World {
    let mut world = World::new();
    for n in 1..=5 {
        world.copies.insert(format!("shop.web.{n}.{n}").parse().unwrap(), running(1));
    }
    world.copies.remove(&ID.parse::<InstanceId>().unwrap());
    world.update();
    world
}

/// How soon each of them is asked next.
fn dues(world: &mut World) -> BTreeSet<Duration> {
    let mut dues = BTreeSet::new();
    while let Some(due) = world.board.next() {
        assert!(due > world.now);
        world.board.take(due).unwrap();
        dues.insert(due - world.now);
    }
    assert!(dues.len() >= 4, "they are asked apart: {dues:?}");
    dues
}

#[test]
fn copies_that_start_together_are_asked_at_once_and_then_apart() {
    let mut world = five();
    for _ in 0..5 {
        assert_eq!(world.answer(true).0, Duration::ZERO);
    }
    let dues = dues(&mut world);
    assert!(dues.iter().all(|due| (AT_MOST_EVERY..=Duration::from_secs(1)).contains(due)), "{dues:?}");
}

#[test]
fn a_restarted_controller_asks_at_once_of_whom_it_knows_no_verdict_and_apart_of_the_others() {
    let mut world = five();
    for _ in 0..5 {
        world.answer(true);
    }
    world.board = Board::new(world.board.health().clone());
    world.update();
    assert!(dues(&mut world).iter().all(|due| *due <= RESUME_WITHIN));

    let mut world = World::new();
    world.answer(false);
    world.board = Board::new(world.board.health().clone());
    world.update();
    assert_eq!(world.board.next(), Some(world.now), "it starts still");
}

#[test]
fn the_pace_is_even_but_for_a_tenth_whatever_chance_says() {
    for random in [0, 511, 1023, 1024, u64::MAX] {
        let mut world = World::new();
        world.answer(true);
        world.now = world.board.next().unwrap();
        let job = world.board.take(world.now).unwrap();
        world.board.hear(&job, Answer::pass("open"), world.now, world.wall(), random);
        let pace = world.board.next().unwrap() - world.now;
        assert!((900..=1100).contains(&pace.as_millis()), "{random}: {pace:?}");
    }
}
