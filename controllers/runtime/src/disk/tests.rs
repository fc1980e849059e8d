use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

type Value = BTreeMap<String, u64>;

fn value(n: u64) -> Value {
    BTreeMap::from([("n".to_owned(), n)])
}

fn open(dir: &Path) -> Result<StateFile<Value>, DiskError> {
    StateFile::open(&dir.into(), Controller::Dns)
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
fn a_scratch_file_that_grows_and_shrinks_is_read_as_written_last() {
    let dir = tempfile::tempdir().unwrap();
    let at = StateDir::from(dir.path());
    let file = Scratch::<Value>::new(&at, Controller::Dns, "beat");
    let read = || peek::<Value>(&at, Controller::Dns, "beat");
    assert_eq!(read(), None);
    let large: Value = (0..100).map(|n| (format!("key {n}"), n)).collect();
    for written in [value(9), large, value(10)] {
        file.write(&written).unwrap();
        assert_eq!((read(), file.load()), (Some(written.clone()), Some(written)));
    }
    let path = dir.path().join("dns/beat.json");
    let torn = std::fs::read(&path).unwrap();
    std::fs::write(&path, &torn[..torn.len() / 2]).unwrap();
    assert_eq!(read(), None);
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

/// A disk that rots, or a power cut in the middle of a file system's own work.
#[test]
fn no_byte_that_is_lost_or_wrong_is_taken_for_the_value() {
    let good = encode(&value(41)).unwrap();
    for at in 0..good.len() {
        assert!(decode::<Value>(&good[..at]).is_err(), "cut after {at} bytes");
        for wrong in [0, b'"', b'4', good[at] ^ 1, good[at] ^ 0x80] {
            let mut bytes = good.clone();
            bytes[at] = wrong;
            if let Ok(read) = decode::<Value>(&bytes) {
                assert_eq!(read, value(41), "byte {at} as {wrong}");
            }
        }
    }
    let deep = format!("{{\"format\":1,\"checksum\":\"0\"}}\n{}\n", "[".repeat(1 << 20));
    assert!(decode::<Value>(deep.as_bytes()).is_err());
}

#[tokio::test]
async fn siblings_are_told_of_each_change_whether_the_folder_was_there_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut siblings = Siblings::new(&dir.path().into());
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

/// Both disks do the same.
fn disks(dir: &tempfile::TempDir) -> [(&'static str, StateDir); 2] {
    let memory = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
    [("files", dir.path().into()), ("memory", memory)]
}

#[test]
fn the_twin_keeps_locks_and_tells_versions_as_files_do() {
    let dir = tempfile::tempdir().unwrap();
    for (name, on) in disks(&dir) {
        let (disk, file) = (on.disk(), Path::new("dns/resolv/x"));
        assert!(disk.read(file).unwrap().is_none() && disk.stamp(file).is_none(), "{name}");
        disk.remove(file).unwrap();
        disk.overwrite(file, b"longer").unwrap();
        let before = disk.stamp(file);
        disk.overwrite(file, b"short").unwrap();
        assert_eq!(disk.read(file).unwrap().unwrap(), b"short", "{name}");
        assert_ne!(disk.stamp(file), before, "{name}");
        disk.replace(file, b"whole").unwrap();
        assert_eq!(disk.read(file).unwrap().unwrap(), b"whole", "{name}");
        disk.remove(file).unwrap();
        assert!(disk.stamp(file).is_none(), "{name}");
        let lock = Path::new("dns/lock");
        let held = disk.lock(lock).unwrap();
        assert!(held.is_some() && disk.lock(lock).unwrap().is_none(), "{name}");
        drop(held);
        assert!(disk.lock(lock).unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn what_is_saved_aside_is_there_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    for (name, on) in disks(&dir) {
        let file: Arc<StateFile<Value>> = Arc::new(StateFile::open(&on, Controller::Dns).unwrap());
        file.save_aside(Arc::new(value(5))).await.unwrap();
        assert_eq!(file.load(), Some(value(5)), "{name}");
        if name == "memory" {
            // It is done in this turn: a simulated process's order is its seed's.
            let now = tokio::time::timeout(Duration::ZERO, file.save_aside(Arc::new(value(6)))).await;
            now.unwrap().unwrap();
            assert_eq!(file.load(), Some(value(6)));
        }
    }
    let gone = dir.path().join("gone");
    let file: Arc<StateFile<Value>> =
        Arc::new(StateFile::open(&gone.as_path().into(), Controller::Dns).unwrap());
    std::fs::remove_dir_all(&gone).unwrap();
    std::fs::write(&gone, "no folder").unwrap();
    assert!(file.save_aside(Arc::new(value(7))).await.is_err(), "the disk's refusal is told");
}

#[tokio::test]
async fn both_disks_tell_siblings_of_a_change() {
    let dir = tempfile::tempdir().unwrap();
    for (name, on) in disks(&dir) {
        let mut siblings = Siblings::new(&on);
        let file: StateFile<Value> = StateFile::open(&on, Controller::Dns).unwrap();
        file.save(&value(3)).unwrap();
        let soon = tokio::time::timeout(Duration::from_secs(2), siblings.changed()).await;
        assert_eq!(soon.unwrap(), Controller::Dns, "{name}");
        let none = tokio::time::timeout(Duration::from_millis(20), siblings.changed()).await;
        assert!(none.is_err(), "{name}: nothing else has changed");
        assert_eq!(siblings.read::<Value>(Controller::Dns), Some(value(3)), "{name}");
    }
}

#[test]
fn a_disk_in_memory_dies_with_its_process_and_loses_what_was_not_flushed() {
    let first = MemoryDisk::new();
    let dir = |disk: &MemoryDisk| StateDir::on(Arc::new(disk.clone()), Path::new("/state"));
    let file: StateFile<Value> = StateFile::open(&dir(&first), Controller::Dns).unwrap();
    file.save(&value(1)).unwrap();
    first.overwrite(Path::new("dns/loose"), b"x").unwrap();
    let second = first.next_life();
    assert!(file.save(&value(2)).is_err(), "the dead do not write");
    let again: StateFile<Value> = StateFile::open(&dir(&second), Controller::Dns).unwrap();
    assert_eq!(again.load(), Some(value(1)));
    second.power_cut();
    assert_eq!(again.load(), Some(value(1)));
    assert_eq!(second.read(Path::new("dns/loose")).unwrap(), None);
    second.set_full(true);
    assert!(again.save(&value(3)).is_err());
    assert_eq!(again.load(), Some(value(1)));
    second.set_full(false);
    again.save(&value(3)).unwrap();
}

#[test]
fn a_folder_of_the_machine_is_a_real_one_and_slow() {
    let dir = tempfile::tempdir().unwrap();
    for (name, on) in disks(&dir) {
        let real = (name == "files").then(|| dir.path());
        assert_eq!((on.real_path(), on.disk().is_slow()), (real, real.is_some()), "{name}");
        assert_eq!(on.path(), real.unwrap_or(Path::new("/state")));
    }
}

#[test]
fn what_the_disk_refuses_is_no_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let on = StateDir::from(dir.path());
    std::fs::create_dir_all(dir.path().join("dns/state.json/x")).unwrap();
    let file = Path::new("dns/state.json");
    assert!(on.disk().read(file).is_err());
    assert!(on.disk().remove(file).is_err());
    assert!(on.disk().overwrite(file, b"x").is_err());
    let refused = on.disk().replace(file, b"x").unwrap_err();
    assert_eq!((refused.verb, refused.path), ("replace", dir.path().join(file)));
    let locked = on.disk().lock(file).map(|held| held.is_some()).map_err(|refused| refused.verb);
    assert_eq!(locked, Err("open"));
}

#[test]
fn a_lock_of_an_earlier_life_frees_nothing_in_the_next_one() {
    let first = MemoryDisk::new();
    let lock = Path::new("dns/lock");
    let held = first.lock(lock).unwrap();
    assert!(held.is_some());
    let second = first.next_life();
    assert!(first.lock(Path::new("dns/other")).unwrap().is_none(), "the dead lock nothing");
    let again = second.lock(lock).unwrap();
    assert!(again.is_some());
    drop(held);
    assert!(second.lock(lock).unwrap().is_none());
    drop(again);
    assert!(second.lock(lock).unwrap().is_some());
}

#[test]
fn rot_in_a_disk_in_memory_outlives_a_power_cut_and_a_full_one_still_takes_removals() {
    let disk = MemoryDisk::new();
    let on = StateDir::on(Arc::new(disk.clone()), Path::new("/state"));
    let file: StateFile<Value> = StateFile::open(&on, Controller::Dns).unwrap();
    file.save(&value(1)).unwrap();
    let path = Path::new("dns/state.json");
    let sound = disk.stamp(path);
    disk.damage(path, b"rot");
    assert_ne!(disk.stamp(path), sound);
    disk.power_cut();
    assert_eq!((disk.read(path).unwrap(), file.load()), (Some(b"rot".to_vec()), None));
    disk.set_full(true);
    assert!(disk.overwrite(path, b"x").is_err());
    disk.remove(path).unwrap();
    assert_eq!(disk.read(path).unwrap(), None);
}

#[tokio::test]
async fn the_machine_tells_of_a_change_long_before_it_would_be_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = Arc::new(open(dir.path()).unwrap());
    let mut siblings = Siblings::new(&dir.path().into());
    let mut quickest = Duration::MAX;
    // The first look opens the watch, and one of some must be quick also on a busy machine.
    for n in 0..8 {
        let file = file.clone();
        let saved = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            file.save_aside(Arc::new(value(n))).await.unwrap();
        });
        let since = tokio::time::Instant::now();
        assert_eq!(siblings.changed().await, Controller::Dns);
        quickest = quickest.min(since.elapsed());
        saved.await.unwrap();
    }
    assert!(quickest < Duration::from_millis(150), "{quickest:?}");
}
