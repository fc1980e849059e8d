use std::os::unix::fs::PermissionsExt;

use super::*;

fn carried(from: &Path, name: &str, to: &Path, whole: bool) -> io::Result<()> {
    let (leave, mut left) = mpsc::channel(WAITING);
    let (arrive, arrived) = mpsc::channel(WAITING);
    let (from, name) = (from.to_owned(), name.to_owned());
    let packing = {
        let name = name.clone();
        std::thread::spawn(move || pack(&from, &name, leave))
    };
    let between = std::thread::spawn(move || {
        let mut carried = 0;
        while let Some(data) = left.blocking_recv() {
            carried += data.len();
            if !whole && carried > 100_000 {
                return;
            }
            if arrive.blocking_send(Arrival::Data(data)).is_err() {
                return;
            }
        }
        let _gone = arrive.blocking_send(Arrival::End);
    });
    let unpacked = unpack(Arriving::new(arrived), to, Some(&name));
    between.join().unwrap();
    let packed = packing.join().unwrap();
    if whole { packed.and(unpacked) } else { unpacked }
}

#[test]
fn files_and_folders_arrive_as_they_were() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = here.path().join("folder");
    fs::create_dir_all(folder.join("below")).unwrap();
    let long = vec![7; 300_000];
    fs::write(folder.join("below/long"), &long).unwrap();
    fs::write(folder.join("short"), "short").unwrap();
    std::os::unix::fs::symlink("short", folder.join("link")).unwrap();
    // Into a folder that is there, and as one that is not.
    carried(&folder, "folder", there.path(), true).unwrap();
    carried(&folder, "folder", &there.path().join("other"), true).unwrap();
    for name in ["folder", "other"] {
        let found = there.path().join(name);
        assert_eq!(fs::read(found.join("below/long")).unwrap(), long);
        assert_eq!(fs::read_to_string(found.join("link")).unwrap(), "short");
        assert_eq!(fs::read_link(found.join("link")).unwrap(), Path::new("short"));
    }
    carried(&folder.join("short"), "x", &there.path().join("renamed"), true).unwrap();
    assert_eq!(fs::read_to_string(there.path().join("renamed")).unwrap(), "short");
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 3, "nothing is left beside them");
}

#[test]
fn half_a_file_is_no_file() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(here.path().join("f"), vec![7; 300_000]).unwrap();
    let to = there.path().join("f");
    assert!(carried(&here.path().join("f"), "f", &to, false).is_err());
    assert!(!to.exists());
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
    let nowhere = there.path().join("no/such");
    assert!(carried(&here.path().join("f"), "f", &nowhere, true).is_err());
}

/// What a host sends, whatever is in it.
fn sent(archive: Builder<Vec<u8>>, to: &Path, name: Option<&str>) -> io::Result<()> {
    let (arrive, arrived) = mpsc::channel(WAITING);
    let data = Bytes::from(archive.into_inner().unwrap());
    std::thread::spawn(move || {
        let _whole = arrive.blocking_send(Arrival::Data(data));
        arrive.blocking_send(Arrival::End)
    });
    unpack(Arriving::new(arrived), to, name)
}

fn archive(entries: &[(&str, EntryType, u32, &str)]) -> Builder<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, mode, text) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(0);
        match kind {
            EntryType::Symlink | EntryType::Link => {
                archive.append_link(&mut header, name, text).unwrap();
            }
            _ => {
                header.set_size(text.len() as u64);
                archive.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
        }
    }
    archive
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;

#[test]
fn a_host_chooses_no_name_here() {
    let home = tempfile::tempdir().unwrap();
    for wrong in [
        &[(".bashrc", FILE, 0o644, "x")][..],
        &[("db.log", FILE, 0o644, "x"), (".ssh/authorized_keys", FILE, 0o644, "x")],
        &[("db.log/x", FILE, 0o644, "x"), ("other", FOLDER, 0o755, "")],
        &[],
    ] {
        let refused = sent(archive(wrong), home.path(), Some("db.log")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{wrong:?}: {refused}");
        assert_eq!(names(home.path()), [""; 0], "{wrong:?}");
        let to = home.path().join("as");
        assert!(sent(archive(wrong), &to, Some("db.log")).is_err(), "{wrong:?}");
        assert_eq!(names(home.path()), [""; 0], "{wrong:?}");
    }
}

#[test]
fn what_was_there_stays_until_all_has_come() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(here.path().join("f"), vec![7; 300_000]).unwrap();
    fs::write(there.path().join("f"), "of yesterday").unwrap();
    assert!(carried(&here.path().join("f"), "f", there.path(), false).is_err());
    assert!(fs::read(there.path().join("f")).unwrap() == b"of yesterday", "it is another one");
    assert_eq!(names(there.path()), ["f"]);
}

#[test]
fn a_folder_takes_in_what_comes_and_no_link_of_its_is_followed() {
    let (there, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| there.path().join(name);
    fs::write(elsewhere.path().join("kept"), "kept").unwrap();
    fs::create_dir_all(at("d/below")).unwrap();
    fs::write(at("d/old"), "old").unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("kept"), at("d/file")).unwrap();
    let came = || {
        archive(&[
            ("d", FOLDER, 0o750, ""),
            ("d/below/new", FILE, 0o600, "new"),
            ("d/file", FILE, 0o644, "came"),
            ("d/twin", EntryType::Link, 0o644, "d/file"),
        ])
    };
    // A second time as well, with its hard links.
    for _ in 0..2 {
        sent(came(), there.path(), Some("d")).unwrap();
        assert_eq!(names(&at("d")), ["below", "file", "old", "twin"]);
        assert_eq!(fs::read_to_string(at("d/file")).unwrap(), "came");
        assert_eq!(fs::read_to_string(at("d/twin")).unwrap(), "came");
        assert_eq!(fs::read_to_string(at("d/below/new")).unwrap(), "new");
        assert_eq!(mode(&at("d")), 0o750);
        assert_eq!(names(there.path()), ["d"]);
    }
    assert_eq!(fs::read_to_string(elsewhere.path().join("kept")).unwrap(), "kept");
    // A link to a folder is no folder to put things into.
    fs::remove_dir_all(at("d")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), at("d")).unwrap();
    let refused = sent(came(), there.path(), Some("d")).unwrap_err();
    assert!(refused.to_string().contains("is no folder, and a folder came"), "{refused}");
    assert_eq!(names(elsewhere.path()), ["kept"]);
    assert_eq!(names(there.path()), ["d"]);
}

#[test]
fn a_folder_is_not_exchanged_for_a_file() {
    let there = tempfile::tempdir().unwrap();
    fs::create_dir_all(there.path().join("d/full")).unwrap();
    let refused = sent(archive(&[("d", FILE, 0o644, "x")]), there.path(), Some("d")).unwrap_err();
    assert!(refused.to_string().contains("is a folder, and none came"), "{refused}");
    assert_eq!(names(&there.path().join("d")), ["full"]);
}

#[test]
fn nothing_is_moved_where_something_is_in_the_way_and_all_of_that_is_named() {
    let there = tempfile::tempdir().unwrap();
    let at = |name: &str| there.path().join(name);
    let files: Vec<String> = (0..20).map(|n| format!("d/f{n}")).collect();
    fs::create_dir_all(at("d/closed")).unwrap();
    for file in &files {
        fs::write(at(file), "of yesterday").unwrap();
    }
    fs::write(at("d/folder"), "a file").unwrap();
    fs::create_dir(at("d/closed/file")).unwrap();
    fs::set_permissions(at("d/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let came = || {
        let files = files.iter().map(|file| (file.as_str(), FILE, 0o644, "came"));
        let others = [
            ("d", FOLDER, 0o700, ""),
            ("d/folder", FOLDER, 0o755, ""),
            ("d/closed", FOLDER, 0o000, ""),
            ("d/closed/file", FILE, 0o644, "came"),
        ];
        archive(&others.into_iter().chain(files).collect::<Vec<_>>())
    };
    let refused = [sent(came(), there.path(), Some("d")), sent(came(), there.path(), None)];
    for refused in refused.map(|refused| refused.unwrap_err().to_string()) {
        for part in [
            "d/folder is no folder, and a folder came",
            "closed/file is a folder, and none",
            "nothing was changed",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
    }
    assert_eq!((mode(&at("d/closed")), mode(&at("d"))), (0o000, 0o755));
    fs::set_permissions(at("d/closed"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(files.iter().all(|file| fs::read_to_string(at(file)).unwrap() == "of yesterday"));
    assert_eq!(names(there.path()), ["d"]);
}

#[test]
fn what_is_in_a_folder_may_be_asked_for() {
    let there = tempfile::tempdir().unwrap();
    let came =
        || archive(&[("./", FOLDER, 0o755, ""), ("./a", FILE, 0o644, "a"), ("./b/c", FILE, 0o644, "c")]);
    sent(came(), &there.path().join("new"), None).unwrap();
    sent(came(), there.path(), None).unwrap();
    assert_eq!(names(there.path()), ["a", "b", "new"]);
    assert_eq!(names(&there.path().join("new")), ["a", "b"]);
}

#[test]
fn a_folder_that_nobody_may_write_to_comes_too() {
    let there = tempfile::tempdir().unwrap();
    let came =
        || archive(&[("d", FOLDER, 0o555, ""), ("d/closed", FOLDER, 0o000, ""), ("d/x", FILE, 0o444, "x")]);
    let to = there.path().join("new");
    sent(came(), &to, Some("d")).unwrap();
    assert_eq!((mode(&to), mode(&to.join("closed"))), (0o555, 0));
    for _ in 0..2 {
        sent(came(), there.path(), Some("d")).unwrap();
        assert_eq!(mode(&there.path().join("d")), 0o555);
    }
    assert!(sent(came(), there.path(), Some("another")).is_err());
    assert_eq!(names(there.path()), ["d", "new"], "nothing is left beside them");
    for made in ["d", "new"] {
        for folder in [there.path().join(made), there.path().join(made).join("closed")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

fn mode(of: &Path) -> u32 {
    fs::metadata(of).unwrap().permissions().mode() & 0o7777
}
