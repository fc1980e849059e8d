use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

type Value = BTreeMap<String, u64>;

fn value(n: u64) -> Value {
    BTreeMap::from([("n".to_owned(), n)])
}

fn open(dir: &Path) -> Result<StateFile<Value>, DiskError> {
    StateFile::open(dir, Controller::Dns)
}

#[test]
fn what_was_saved_is_loaded_by_the_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path()).unwrap();
    assert_eq!(file.load(), None);
    file.save(&value(1)).unwrap();
    file.save(&value(2)).unwrap();
    drop(file);
    assert_eq!(open(dir.path()).unwrap().load(), Some(value(2)));
}

#[test]
fn an_equal_value_is_not_written_again_not_even_by_the_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns/state.json");
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let file = open(dir.path()).unwrap();
    file.save(&value(1)).unwrap();
    let first = inode();
    file.save(&value(1)).unwrap();
    drop(file);
    open(dir.path()).unwrap().save(&value(1)).unwrap();
    assert_eq!(inode(), first);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let beside: StateFile<u64> = first.beside("writer");
    assert!(matches!(open(dir.path()), Err(DiskError::Locked(Controller::Dns, _))));
    drop(first);
    assert!(open(dir.path()).is_err(), "the file beside holds the lock, too");
    beside.save(&7).unwrap();
    assert_eq!(beside.load(), Some(7));
    drop(beside);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn what_is_broken_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path()).unwrap();
    let path = dir.path().join("dns/state.json");
    file.save(&value(41)).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    for (name, bad) in [
        ("torn", good[..good.len() - 3].to_owned()),
        ("rotten", good.replace("41", "42")),
        ("newer", good.replace("\"format\":1", "\"format\":2")),
        ("no header", "{}".to_owned()),
        ("empty", String::new()),
        ("other", "{\"format\":1,\"checksum\":\"".to_owned() + &checksum(b"7") + "\"}\n7\n"),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(file.load(), None, "{name}");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(file.load(), Some(value(41)));
}

#[tokio::test]
async fn siblings_are_told_of_each_change_whether_the_folder_was_there_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut siblings = Siblings::new(dir.path());
    let quiet = tokio::time::timeout(Duration::from_millis(50), siblings.changed()).await;
    assert!(quiet.is_err(), "nothing has changed");
    let file = open(dir.path()).unwrap();
    file.save(&value(1)).unwrap();
    let soon = Duration::from_secs(2);
    assert_eq!(tokio::time::timeout(soon, siblings.changed()).await.unwrap(), Controller::Dns);
    assert_eq!(siblings.read::<Value>(Controller::Dns), Some(value(1)));
    assert_eq!(siblings.read::<Value>(Controller::Host), None);
    let wait = tokio::spawn(async move { (siblings.changed().await, siblings) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    file.save(&value(2)).unwrap();
    let (controller, siblings) = tokio::time::timeout(soon, wait).await.unwrap().unwrap();
    assert_eq!(controller, Controller::Dns);
    assert_eq!(siblings.read::<Value>(Controller::Dns), Some(value(2)));
}
