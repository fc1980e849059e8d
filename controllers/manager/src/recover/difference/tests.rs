use super::*;

fn store(records: &[(&str, &str, i64)]) -> Store {
    let records = records.iter().map(|(key, value, revision)| {
        (key.parse().unwrap(), Stands { value: (*value).to_owned(), revision: *revision })
    });
    Store { cluster: None, revision: 50, records: records.collect() }
}

fn recall(records: &[(&str, &str, i64)]) -> Recall {
    let records = records.iter().map(|(key, value, revision)| {
        ((*key).to_owned(), Remembered { value: (*value).to_owned(), revision: *revision })
    });
    Recall { uid: "u".to_owned(), epoch: 1, revision: 90, records: records.collect() }
}

fn record(desired: &str) -> String {
    format!(r#"{{"template":"a/a@7","slot":"1","desired":"{desired}","cause":"x"}}"#)
}

#[test]
fn each_document_has_its_word_and_its_way() {
    // The snapshot was of revision 20 or so; 60 was written since.
    let now = store(&[
        ("services/a/same", "1", 20),
        ("services/a/older", "1", 10),
        ("services/a/newer", "3", 60),
        ("services/a/returned", "1", 12),
        ("services/a/new", "1", 61),
        ("rollouts/a/new", "{}", 62),
        ("rollouts/a/older", "1", 11),
        ("rollouts/a/returned", "1", 13),
    ]);
    let archive = recall(&[
        ("services/a/same", "1", 20),
        ("services/a/older", "2", 70),
        ("services/a/newer", "2", 71),
        ("services/a/lost", "1", 72),
        ("rollouts/a/older", "2", 73),
    ]);
    let memory = Memory::of(vec![Of::Archive(archive)], &now).unwrap();
    let words: Vec<(String, Word)> =
        difference(&now, &memory).documents.into_iter().map(|one| (one.object.path(), one.word)).collect();
    let expected = [
        ("a/lost", Word::Lost),
        ("a/new", Word::New),
        ("a/newer", Word::Newer),
        ("a/older", Word::Older),
        ("a/returned", Word::Returned),
    ];
    assert_eq!(words, expected.map(|(path, word)| (path.to_owned(), word)));
    let writes: Vec<(String, Option<String>, i64)> = import(&now, &memory)
        .into_iter()
        .map(|(key, write)| (key.to_string(), write.value, write.revision))
        .collect();
    let mut expected = vec![
        ("rollouts/a/older", Some("2"), 11),
        ("rollouts/a/returned", None, 13),
        ("services/a/lost", Some("1"), 0),
        ("services/a/older", Some("2"), 10),
        ("services/a/returned", None, 12),
    ];
    expected.sort();
    let mut found: Vec<(&str, Option<&str>, i64)> =
        writes.iter().map(|(key, value, at)| (key.as_str(), value.as_deref(), *at)).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn an_archive_that_took_the_past_over_is_not_gone_by() {
    let now = store(&[("services/a/older", "1", 10), ("services/a/other", "1", 200)]);
    let truth = recall(&[("services/a/older", "2", 70), ("services/a/lost", "1", 72)]);
    let mut past = recall(&[("services/a/older", "1", 10), ("services/a/other", "1", 200)]);
    past.revision = 200;
    let void = Recall { epoch: 0, revision: 900, ..recall(&[("services/a/older", "0", 890)]) };
    for order in [[&truth, &past, &void], [&void, &past, &truth]] {
        let memory = Memory::of(order.map(|one| Of::Archive(one.clone())).to_vec(), &now).unwrap();
        assert_eq!(memory.records, keyed(truth.clone()).collect());
    }
    let later = Recall { revision: 95, ..recall(&[("services/a/older", "3", 95)]) };
    let both = vec![Of::Archive(later.clone()), Of::Archive(truth)];
    assert_eq!(Memory::of(both, &now).unwrap().records, keyed(later).collect());
}

#[test]
fn a_host_knows_its_own_copies_and_the_leader_what_is_wanted_of_them() {
    let (run, stop) = (record("run"), record("stop"));
    let archive = recall(&[
        ("services/a/a", "text", 5),
        ("instances/h1/a.a.1.7", &stop, 80),
        ("observed/h1/a.a.1.7", "old", 81),
    ]);
    let host = recall(&[
        ("instances/h1/a.a.1.7", &run, 0),
        ("observed/h1/a.a.1.7", "fresh", 0),
        ("instances/h1/a.a.2.8", &run, 0),
        ("revisions/services/a/a/7", "template", 0),
    ]);
    let memory =
        Memory::of(vec![Of::Host("h1".parse().unwrap(), host), Of::Archive(archive)], &store(&[])).unwrap();
    let value = |key: &str| memory.records[&key.parse::<Key>().unwrap()].value.as_str();
    assert_eq!(value("instances/h1/a.a.1.7"), stop);
    assert_eq!(value("observed/h1/a.a.1.7"), "fresh");
    assert_eq!(value("revisions/services/a/a/7"), "template");
    let found = difference(&store(&[("instances/h1/a.a.3.9", &run, 4)]), &memory);
    let copies: Vec<(String, bool)> =
        found.copies.iter().map(|copy| (copy.id.to_string(), copy.runs)).collect();
    assert_eq!(copies, [("a.a.2.8".to_owned(), true), ("a.a.3.9".to_owned(), false)]);
    let blank = vec![Of::Archive(recall(&[])), Of::Host("h9".parse().unwrap(), Recall::default())];
    assert_eq!(Memory::of(blank, &store(&[])).unwrap().uid, "u");
    let other = Recall { uid: "w".to_owned(), ..Recall::default() };
    let both = vec![Of::Archive(other), Of::Archive(recall(&[]))];
    assert!(Memory::of(both, &store(&[])).unwrap_err().contains("several clusters"));
}

#[test]
fn without_an_archive_nothing_is_taken_away() {
    let now = store(&[("services/a/a", "text", 5), ("instances/h2/a.a.2.8", &record("run"), 6)]);
    let host = recall(&[("instances/h1/a.a.1.7", &record("run"), 0)]);
    let memory = Memory::of(vec![Of::Host("h1".parse().unwrap(), host)], &store(&[])).unwrap();
    assert_eq!(difference(&now, &memory).documents, []);
    let writes = import(&now, &memory);
    assert_eq!(writes.keys().map(Key::to_string).collect::<Vec<_>>(), ["instances/h1/a.a.1.7"]);
}

#[test]
fn numbers_go_on_above_all_that_was_used() {
    let now = Store { revision: 30, ..store(&[("rollouts/a/a", r#"{"seq":40}"#, 5)]) };
    let memory =
        Memory::of(vec![Of::Archive(recall(&[("instances/h1/a.a.1.zz", "x", 9)]))], &store(&[])).unwrap();
    let found = cluster(&now, &memory, Timestamp(0));
    assert_eq!((found.uid.as_str(), found.epoch, found.level, found.floor), ("u", 2, 1, 35 * 36 + 35));
    // A store that goes back behind a recovery forgets its epoch, and those who went by it do not.
    let again = cluster(&now, &memory, Timestamp(1_700_000_000_999));
    assert_eq!(again.epoch, 1_700_000_000);
}

#[test]
fn of_an_exclusive_slot_the_newest_copy_alone_is_brought_back() {
    let exclusive = |desired: &str| {
        format!(
            r#"{{"template":"a/db@7","slot":"1","desired":"{desired}","cause":"x","fence":{{"token":1,"stop_after":"5s"}}}}"#
        )
    };
    // The store went back to a time at which the first copy was on h1; h2 and h3 remember later ones.
    let now = store(&[("instances/h1/a.db.1.a", &exclusive("run"), 10), ("services/a/db", "1", 5)]);
    let on = |host: &str, key: &str| Of::Host(host.parse().unwrap(), recall(&[(key, &exclusive("run"), 70)]));
    let memory =
        Memory::of(vec![on("h2", "instances/h2/a.db.1.b"), on("h3", "instances/h3/a.db.1.c")], &store(&[]))
            .unwrap();
    let desired: Vec<(String, Desired)> = import(&now, &memory)
        .into_iter()
        .map(|(key, write)| {
            let record: Instance = serde_json::from_str(&write.value.unwrap()).unwrap();
            (key.to_string(), record.desired)
        })
        .collect();
    let expected = [
        ("instances/h1/a.db.1.a", Desired::Lost),
        ("instances/h2/a.db.1.b", Desired::Lost),
        ("instances/h3/a.db.1.c", Desired::Run),
    ];
    assert_eq!(desired, expected.map(|(key, desired)| (key.to_owned(), desired)));
}
