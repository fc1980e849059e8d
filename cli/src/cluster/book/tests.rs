use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cluster::generations::is_of_host;

fn facts(separate: bool) -> Facts {
    Facts {
        uid: "0123456789abcdef".to_owned(),
        prefix: "/evenkeel/v1".to_owned(),
        image: "r/evenkeel:1".to_owned(),
        etcd_image: "r/etcd:3".to_owned(),
        separate,
        backups: BTreeMap::new(),
        generations: Generations::default(),
        members: [
            ("h1".parse().unwrap(), [10, 0, 0, 11].into()),
            ("h2".parse().unwrap(), [10, 0, 0, 12].into()),
        ]
        .into(),
    }
}

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

#[test]
fn what_is_kept_opens_again_and_keys_are_the_owners_alone() {
    let home = tempfile::tempdir().unwrap();
    assert!(Book::open(home.path()).unwrap().is_none());
    let mut book = Book::create(home.path(), facts(false)).unwrap();
    book.facts.members.insert(host("h3"), [10, 0, 0, 13].into());
    book.save().unwrap();
    let again = Book::open(home.path()).unwrap().unwrap();
    assert_eq!((&again.facts, again.authority()), (&book.facts, book.authority()));
    let folder = home.path().join("authority");
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let expected = if name.ends_with(".crt") { 0o644 } else { 0o600 };
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, expected, "{name}");
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    // A key that is none is told with its name, and nothing is made anew.
    fs::write(folder.join("peers.key"), "x").unwrap();
    assert!(Book::open(home.path()).unwrap_err().message.contains("etcd members"));
}

#[test]
fn what_was_cut_off_is_gone_on_with_by_who_changes_the_book_alone() {
    let home = tempfile::tempdir().unwrap();
    assert!(Book::open_to_change(home.path()).unwrap().is_none());
    let mut book = Book::create(home.path(), facts(false)).unwrap();
    for signers in book.signers() {
        signers.prepare(crate::cluster::now()).unwrap();
    }
    // One that follows stays what it is for who changes something else.
    assert!(Book::open_to_change(home.path()).unwrap().unwrap().clients.has_next());
    let next = |end: &str| home.path().join("authority").join(format!("clients-next.{end}"));
    fs::copy(next("key"), home.path().join("authority/clients.key")).unwrap();
    let read = Book::open(home.path()).unwrap().unwrap();
    assert!(!read.clients.has_next() && next("crt").exists() && next("key").exists());
    let held = Book::open_to_change(home.path()).unwrap().unwrap();
    assert_eq!(held.authority(), read.authority());
    assert!(!next("crt").exists() && !next("key").exists());
    // Of the other one nothing was cut off.
    assert!(held.peers.has_next());
}

#[test]
fn hosts_that_carry_etcd_lead_and_ask_their_own_member_first() {
    let home = tempfile::tempdir().unwrap();
    let book = Book::create(home.path(), facts(false)).unwrap();
    let leads = |name: &str| {
        let access = book.access(&host(name));
        assert_eq!(access.keys().collect::<Vec<_>>(), [&format!("evenkeel.host.{name}")]);
        access.values().flatten().filter(|role| matches!(role, Role::Lead(_))).count()
    };
    assert_eq!((leads("h2"), leads("h3")), (Controller::LEADING.len(), 0));
    let ticket = book.ticket(&host("h2"), [10, 0, 0, 12].into(), true).unwrap();
    assert_eq!(ticket.endpoints, ["https://10.0.0.12:2379", "https://10.0.0.11:2379"]);
    let member = ticket.etcd.unwrap();
    assert_eq!(member.cluster, "h1=https://10.0.0.11:2380,h2=https://10.0.0.12:2380");
    assert!(ticket.lead && member.joins && member.authority != ticket.authority);
    let ticket = book.ticket(&host("h3"), [10, 0, 0, 13].into(), false).unwrap();
    assert!(ticket.etcd.is_none() && !ticket.lead && !ticket.is_separate() && ticket.backup.is_none());
}

#[test]
fn two_hosts_at_least_keep_backups_and_all_that_carry_etcd() {
    let home = tempfile::tempdir().unwrap();
    let mut facts = facts(false);
    facts.members.remove(&host("h2"));
    let mut book = Book::create(home.path(), facts).unwrap();
    let keeps = [1, 2, 3].map(|n| book.backs_up(&host(&format!("h{n}")), [10, 0, 0, 10 + n].into()));
    assert_eq!(keeps, [true, true, false]);
    assert!(book.ticket(&host("h2"), [10, 0, 0, 12].into(), false).unwrap().backup.is_some());
    // Each as a user of its own, who goes with the host.
    let root = |name: &str| {
        let access = book.access(&host(name)).into_iter();
        let root = access.filter(|(_, roles)| *roles == BTreeSet::from([Role::Root]));
        root.map(|(user, _)| (is_of_host(&user, &host(name)), user)).collect::<Vec<_>>()
    };
    assert_eq!(root("h2"), [(true, "evenkeel.host.h2.backup".to_owned())]);
    assert_eq!(root("h3"), []);
    book.facts.members.insert(host("h3"), [10, 0, 0, 13].into());
    assert!(book.backs_up(&host("h3"), [10, 0, 0, 13].into()));
}

#[test]
fn separate_controllers_are_users_of_their_own_and_all_are_known_as_the_hosts() {
    let home = tempfile::tempdir().unwrap();
    let book = Book::create(home.path(), facts(true)).unwrap();
    let access = book.access(&host("h1"));
    assert_eq!(access.len(), Controller::ALL.len());
    let roles = |controller: &str| access[&format!("evenkeel.host.h1.{controller}")].len();
    assert_eq!((roles("service"), roles("dns")), (2, 1));
    let ticket = book.ticket(&host("h1"), [10, 0, 0, 11].into(), false).unwrap();
    assert!(ticket.is_separate() && ticket.identities.len() == Controller::ALL.len());
    assert!(access.keys().all(|user| is_of_host(user, &host("h1")) && !is_of_host(user, &host("h2"))));
    assert!(!is_of_host("evenkeel.host.h10", &host("h1")) && !is_of_host("evenkeel.user.h1", &host("h1")));
}
