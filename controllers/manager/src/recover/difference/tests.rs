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
    let now = store(&[
        ("services/a/a", "text", 5),
        ("instances/h2/a.a.2.8", &record("run"), 6),
        ("accepted/services/a/b", "x", 7),
    ]);
    let host = recall(&[("instances/h1/a.a.1.7", &record("run"), 0)]);
    let memory = Memory::of(vec![Of::Host("h1".parse().unwrap(), host)], &store(&[])).unwrap();
    assert_eq!(difference(&now, &memory).documents, []);
    let writes = import(&now, &memory);
    assert_eq!(writes.keys().map(Key::to_string).collect::<Vec<_>>(), ["instances/h1/a.a.1.7"]);
}

#[test]
fn numbers_go_on_above_all_that_was_used() {
    for (key, value, floor) in [
        ("facts/h1", "x", 90),
        ("instances/h1/a.a.1.zz", "x", 35 * 36 + 35),
        ("observed/h1/a.a.1.zz", "x", 35 * 36 + 35),
        ("rollouts/a/a", r#"{"seq":400}"#, 400),
        ("rollouts/a/a", r#"{"seq":18446744073709551615}"#, i64::MAX - 1),
        ("revisions/services/a/a/500", "x", 500),
    ] {
        let (record, empty) = ([(key, value, 5)], store(&[]));
        let memory = |of| Memory::of(vec![Of::Archive(of)], &empty).unwrap();
        let remembered = cluster(&empty, &memory(recall(&record)), Timestamp(0));
        let stands = cluster(&store(&record), &memory(recall(&[])), Timestamp(0));
        assert_eq!((remembered.floor, stands.floor), (floor, floor), "{value} under {key}");
    }
}

#[test]
fn an_epoch_after_a_recovery_is_one_that_was_never_given() {
    let memory = Memory::of(vec![Of::Archive(recall(&[]))], &store(&[])).unwrap();
    let found = cluster(&store(&[]), &memory, Timestamp(0));
    assert_eq!((found.uid.as_str(), found.epoch, found.level), ("u", 2, 1));
    // A store that goes back behind a recovery forgets its epoch, and those who went by it do not.
    let again = cluster(&store(&[]), &memory, Timestamp(1_700_000_000_999));
    assert_eq!(again.epoch, 1_700_000_000);
}

#[test]
fn the_store_went_back_to_the_newest_that_both_have() {
    // What was written since may have the number or the words of something that was lost.
    for (stands, known, expected) in [
        (("1", 30), ("1", 30), Word::Older),
        (("1", 30), ("2", 30), Word::Newer),
        (("1", 30), ("1", 31), Word::Newer),
    ] {
        let now = store(&[("services/a/a", "old", 25), ("pins/a/a", stands.0, stands.1)]);
        let archive = recall(&[("services/a/a", "new", 70), ("pins/a/a", known.0, known.1)]);
        let memory = Memory::of(vec![Of::Archive(archive)], &now).unwrap();
        assert_eq!(difference(&now, &memory).documents[0].word, expected, "{stands:?} {known:?}");
    }
}

#[test]
fn what_was_written_together_with_the_last_of_the_past_is_of_the_past() {
    for (revision, changed, alone) in
        [(29, Word::Older, Word::Returned), (30, Word::Older, Word::Returned), (31, Word::Newer, Word::New)]
    {
        let now = store(&[
            ("pins/a/a", "1", 30),
            ("services/a/changed", "1", revision),
            ("services/a/alone", "1", revision),
        ]);
        let archive = recall(&[("pins/a/a", "1", 30), ("services/a/changed", "2", 70)]);
        let memory = Memory::of(vec![Of::Archive(archive)], &now).unwrap();
        let words: Vec<Word> = difference(&now, &memory).documents.iter().map(|one| one.word).collect();
        assert_eq!(words, [alone, changed], "{revision}");
    }
}

#[test]
fn what_was_made_of_a_new_document_stays_and_of_any_other_goes() {
    let made = |name: &str| {
        [
            format!("accepted/services/a/{name}"),
            format!("revisions/services/a/{name}/70"),
            format!("revisions/services/a/{name}/70/digest"),
            format!("rollouts/a/{name}"),
            format!("endpoints/a/{name}/0"),
            format!("instances/h1/a.{name}.1.zz"),
            format!("observed/h1/a.{name}.1.zz"),
            format!("health/h1/a.{name}.1.zz"),
        ]
    };
    let others =
        ["networks/lan", "accepted/networks/lan", "facts/h9", "subnets/lan/h9", "reports/h9/network/lan"];
    for (name, stands, known) in
        [("new", true, false), ("both", true, true), ("lost", false, true), ("none", false, false)]
    {
        let (document, made) = (format!("services/a/{name}"), made(name));
        let mut records: Vec<(&str, &str, i64)> = vec![("pins/a/a", "1", 30)];
        records.extend(stands.then_some((document.as_str(), "text", if known { 20 } else { 60 })));
        records.extend(made.iter().map(String::as_str).chain(others).map(|key| (key, "x", 60)));
        let now = store(&records);
        let mut remembered = vec![("pins/a/a", "1", 30)];
        remembered.extend(known.then_some((document.as_str(), "text", 20)));
        let memory = Memory::of(vec![Of::Archive(recall(&remembered))], &now).unwrap();
        let gone = import(&now, &memory).into_iter().filter(|(_, write)| write.value.is_none());
        let gone: BTreeSet<String> = gone.map(|(key, _)| key.to_string()).collect();
        let expected = if name == "new" { BTreeSet::new() } else { made.into() };
        assert_eq!(gone, expected, "{name}");
    }
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
    let brought: Vec<(String, Desired, String)> = import(&now, &memory)
        .into_iter()
        .map(|(key, write)| {
            let record: Instance = serde_json::from_str(&write.value.unwrap()).unwrap();
            (key.to_string(), record.desired, record.cause)
        })
        .collect();
    let expected = [
        ("instances/h1/a.db.1.a", Desired::Lost, "a newer copy is known"),
        ("instances/h2/a.db.1.b", Desired::Lost, "a newer copy is known"),
        ("instances/h3/a.db.1.c", Desired::Run, "x"),
    ];
    assert_eq!(brought, expected.map(|(key, desired, cause)| (key.to_owned(), desired, cause.to_owned())));
}

#[test]
fn copies_that_may_run_together_and_lost_ones_stay_as_they_are() {
    let fenced = |desired: &str| record(desired).replace('}', r#","fence":{"token":1,"stop_after":"5s"}}"#);
    let now = store(&[
        ("instances/h1/a.web.1.a", &record("run"), 10),
        ("instances/h2/a.web.1.b", &record("run"), 11),
        ("instances/h1/a.db.1.a", &fenced("run"), 12),
        ("instances/h2/a.db.1.b", &fenced("lost"), 13),
    ]);
    let memory = Memory::of(vec![Of::Host("h3".parse().unwrap(), recall(&[]))], &now).unwrap();
    assert_eq!(import(&now, &memory), BTreeMap::new());
}
