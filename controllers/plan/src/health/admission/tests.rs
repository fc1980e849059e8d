use super::*;

const GOOD: &str = "\
apiVersion: evenkeel/v1
kind: HealthCheck
spec: {target: {service: web}, type: http, port: http}
";
const WEB: &str = "\
apiVersion: evenkeel/v1
kind: Service
spec: {image: web, ports: [{name: http, target: 8080}]}
";

fn text(document: &str, revision: i64) -> Text {
    Text { bytes: document.into(), mod_revision: revision, create_revision: 5 }
}

fn check() -> CheckId {
    "shop/web-http".parse().unwrap()
}

fn service(document: &str) -> ServiceSpec {
    let origin = Origin::Key(ObjectRef::Service("shop/web".parse().unwrap()));
    match parse_document_bytes(document.as_bytes(), &origin).unwrap().spec {
        DocumentSpec::Service(service) => *service,
        other => panic!("{other:?}"),
    }
}

fn health(verdict: Verdict, evidence: &str) -> Health {
    let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: evidence.into() };
    Health { started: Timestamp(1), checks: [("web-http".parse().unwrap(), state)].into() }
}

fn told(status: &Status, kind: ConditionType) -> (bool, &str, &str) {
    let condition = status.condition(kind).unwrap();
    (condition.status, &condition.reason, &condition.message)
}

/// Judges a document with nothing before it.
fn first(document: &str, world: &World<'_>) -> (Option<Accepted<HealthCheckSpec>>, Status) {
    let text = text(document, 7);
    let known = Known { document: Some(&text), ..Known::default() };
    match decide(&check(), &known, world, Timestamp(100)) {
        Some(Change::Judge { accepted, status }) => (accepted.map(|accepted| *accepted), status),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_document_is_accepted_with_its_name_filled_in_and_then_left_alone() {
    let web = service(WEB);
    let world = World { services: [("shop/web".parse().unwrap(), &web)].into(), ..World::default() };
    let (accepted, status) = first(GOOD, &world);
    let accepted = accepted.unwrap();
    assert_eq!((accepted.source_revision, accepted.create_revision), (7, 5));
    assert_eq!(accepted.metadata.name, Some(check().name));
    assert_eq!(accepted.metadata.namespace, Some(check().namespace));
    assert_eq!((status.observed_revision, status.accepted_revision), (7, Some(7)));
    assert_eq!(told(&status, ConditionType::Valid), (true, "Accepted", ""));
    assert_eq!(told(&status, ConditionType::Degraded), (false, "AsWanted", ""));
    let text = text(GOOD, 7);
    let known = Known { document: Some(&text), accepted: Some(&accepted), status: Some(&status) };
    assert_eq!(decide(&check(), &known, &world, Timestamp(999)), None);
}

#[test]
fn a_bad_document_changes_only_the_status_and_says_where_and_what_goes_on() {
    let world = World::default();
    let (accepted, status) = first(GOOD, &world);
    let bad = text(&GOOD.replace("port:", "prot:"), 9);
    let known = Known { document: Some(&bad), accepted: accepted.as_ref(), status: Some(&status) };
    let Some(Change::Judge { accepted: None, status }) = decide(&check(), &known, &world, Timestamp(200))
    else {
        panic!("not judged");
    };
    let (holds, reason, message) = told(&status, ConditionType::Valid);
    assert_eq!((holds, reason), (false, "Invalid"));
    assert!(message.starts_with("line 3, column ") && message.ends_with("; revision 7 goes on"), "{message}");
    assert!(message.contains("did you mean `port`"), "{message}");
    assert_eq!((status.observed_revision, status.accepted_revision), (9, Some(7)));
    // Judged once: it is not parsed again, and nothing is written again.
    let known = Known { document: Some(&bad), accepted: accepted.as_ref(), status: Some(&status) };
    assert_eq!(decide(&check(), &known, &world, Timestamp(999)), None);
}

#[test]
fn a_check_without_target_or_port_is_valid_and_degraded() {
    let (accepted, status) = first(GOOD, &World::default());
    assert!(accepted.is_some());
    assert_eq!(told(&status, ConditionType::Degraded).1, "NoTarget");
    let web = service(&WEB.replace("http", "main"));
    let world = World { services: [("shop/web".parse().unwrap(), &web)].into(), ..World::default() };
    let (_, status) = first(GOOD, &world);
    let message = "Service shop/web has no port named http; it names main";
    assert_eq!(told(&status, ConditionType::Degraded), (true, "NoPort", message));
}

#[test]
fn the_status_counts_copies_and_shows_what_was_seen() {
    let web = service(WEB);
    let (good, bad, new) = (
        health(Verdict::Healthy, "200 OK"),
        health(Verdict::Unhealthy, "503 Service Unavailable"),
        health(Verdict::Starting, "connection refused"),
    );
    let copy = |host: &str, id: &str| (host.parse().unwrap(), id.parse().unwrap());
    let copies = [("h1", "shop.web.1.a", &good), ("h2", "shop.web.2.b", &bad), ("h3", "shop.web.3.c", &new)];
    let copies = copies.map(|(host, id, health)| {
        let (host, id) = copy(host, id);
        (host, id, health)
    });
    let web_id: ServiceId = "shop/web".parse().unwrap();
    let mut world = World { services: [(web_id.clone(), &web)].into(), ..World::default() };
    let (accepted, status) = first(GOOD, &world);
    world.health.insert(web_id.clone(), copies.clone().into());
    let text = text(GOOD, 7);
    let known = Known { document: Some(&text), accepted: accepted.as_ref(), status: Some(&status) };
    let Some(Change::Tell(status)) = decide(&check(), &known, &world, Timestamp(300)) else {
        panic!("not told")
    };
    let counts = "1 healthy, 1 starting, 1 unhealthy";
    assert_eq!(told(&status, ConditionType::Available), (false, "NotPassing", counts));
    let seen = "shop.web.2.b on h2: 503 Service Unavailable";
    assert_eq!(told(&status, ConditionType::Degraded), (true, "Unhealthy", seen));
    let mut starting = World { services: [(web_id.clone(), &web)].into(), ..World::default() };
    starting.health.insert(web_id.clone(), vec![(copies[2].0.clone(), copies[2].1.clone(), &new)]);
    let Some(Change::Tell(now)) = decide(&check(), &known, &starting, Timestamp(300)) else {
        panic!("not told")
    };
    let counts = "0 healthy, 1 starting, 0 unhealthy";
    assert_eq!(told(&now, ConditionType::Available), (true, "Starting", counts));
    assert_eq!(told(&now, ConditionType::Degraded), (false, "AsWanted", ""));
    // What did not change keeps its age.
    assert_eq!(status.condition(ConditionType::Valid).unwrap().since, Timestamp(100));
    assert_eq!(status.condition(ConditionType::Degraded).unwrap().since, Timestamp(300));
}

#[test]
fn a_deleted_document_takes_all_traces_with_it() {
    let (accepted, status) = first(GOOD, &World::default());
    let known = Known { document: None, accepted: accepted.as_ref(), status: Some(&status) };
    assert_eq!(decide(&check(), &known, &World::default(), Timestamp(0)), Some(Change::Remove));
    assert_eq!(decide(&check(), &Known::default(), &World::default(), Timestamp(0)), None);
}

#[test]
fn what_was_said_of_a_document_that_was_never_valid_goes_with_it() {
    let (_, status) = first("nonsense", &World::default());
    let known = Known { document: None, accepted: None, status: Some(&status) };
    assert_eq!(decide(&check(), &known, &World::default(), Timestamp(0)), Some(Change::Remove));
}

#[test]
fn a_message_names_three_copies_and_says_how_many_more() {
    let (web, bad) = (service(WEB), health(Verdict::Unhealthy, "503"));
    let web_id: ServiceId = "shop/web".parse().unwrap();
    for (count, end) in [(3, "shop.web.3.3 on h3: 503"), (4, "; and 1 more"), (6, "; and 3 more")] {
        let mut world = World { services: [(web_id.clone(), &web)].into(), ..World::default() };
        let copy = |n| (format!("h{n}").parse().unwrap(), format!("shop.web.{n}.{n}").parse().unwrap(), &bad);
        world.health.insert(web_id.clone(), (1..=count).map(copy).collect());
        let (_, status) = first(GOOD, &world);
        let message = told(&status, ConditionType::Degraded).2;
        assert!(message.ends_with(end) && message.matches(" on h").count() == 3, "{message}");
    }
}
