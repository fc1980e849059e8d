//! `evenkeel restore`: an etcd that lost all its members begins again from a backup.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::name::HostName;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::{Admin, Rights};
use evenkeel_runtime::store::Store;
use tokio::time::timeout;

use super::etcd;
use crate::cluster::answers::answers;
use crate::cluster::book::Book;
use crate::cluster::deliver::{Place, quoted};
use crate::cluster::generations::is_backup;
use crate::cluster::images::{self, ETCDUTL};
use crate::cluster::{person, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::snapshot;
use crate::which::Which;

/// From what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel backup list
  evenkeel restore h2 /var/lib/evenkeel-backup/etcd-001795982400.db

etcd then runs on that host alone; `evenkeel etcd add` brings the other members back, before you say by `evenkeel
recover` what holds: until then hosts see that etcd went back, and nothing is changed or stopped. The data of members
from before are put aside, not removed.")]
pub struct Restore {
    /// The host with the backup, which will carry etcd, by name or address
    host: Which,
    /// The file there
    file: String,
    /// Also if etcd answers: what happened in it since the backup is lost
    #[arg(long)]
    yes: bool,
    /// A host with a member that cannot be reached and will not be switched on again as it is; may be given again
    #[arg(long = "lost", value_name = "HOST")]
    lost: Vec<HostName>,
}

/// An etcd that is lost need not be waited for longer.
const LOST_AFTER: Duration = Duration::from_secs(5);

impl Restore {
    /// Does it.
    ///
    /// # Errors
    /// This is not where the cluster was made, etcd answers, or a step fails.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = Book::home()?;
        let mut book = whose::need_book_to_change(settings)?;
        let mut known = book.facts.members.clone();
        known.extend(book.facts.backups.clone());
        let host = &self.host.name_among(&known)?;
        let Some(address) = known.get(host).copied() else {
            return Err(Failure::new(format!("{host} keeps no backups: see `evenkeel backup list`")));
        };
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        if !self.yes && timeout(LOST_AFTER, admin.members()).await.is_ok_and(|members| members.is_ok()) {
            return Err(Failure::new(
                "etcd answers: one lost member is brought back by `evenkeel etcd replace`; if all that happened since \
                 the backup is to be lost, say it again with --yes",
            ));
        }
        let place = Place::of(address, None);
        place
            .ask(&format!("test -r {0} || {{ echo {0} cannot be read >&2; false; }}", quoted(&self.file)))?;
        can_restore(host, &book.facts.etcd_image, |command| place.ask(command))?;
        let members = &book.facts.members;
        let before: Vec<_> = members.keys().filter(|member| *member != host).cloned().collect();
        set_aside(&before, members.len(), &self.lost, |member, command| {
            Place::of(members[member], None).ask(command)
        })?;
        book.facts.members = [(host.clone(), address)].into();
        book.save()?;
        let mut ticket = book.ticket(host, address, false)?;
        if let Some(member) = &mut ticket.etcd {
            member.restore = Some(self.file.clone());
        }
        place.deliver(&ticket)?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        answers(&admin).await?;
        crate::cluster::rights::ensure(&admin, &book.access(host)).await?;
        // Removed after the backup, they are in it still.
        let hosts = known.into_keys().collect();
        crate::cluster::rights::take_from_strangers(&admin, &hosts, &book.facts.generations).await?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        let back = back(&book, &admin.read().await?, snapshot::hosts(&store).await?.accepted.into_keys());
        let left_out = etcd::tell(&book, &store, etcd::How::AtOnce, &back).await?;
        person::settings(&home, &book)?;
        say!("\netcd runs on {host} as it was in the backup. Next:\n");
        say!(
            "  evenkeel etcd add HOST        for each that carried it: hosts that may lead remember documents"
        );
        say!("  evenkeel recover              what it lacks, and both ways out; until then nothing changes");
        say!(
            "  evenkeel host add ADDRESS     for each host that came after the backup, and `user add` for people"
        );
        for host in back {
            say!(
                "  {host} was taken out after the backup, which has it again: `evenkeel host remove {host} --dead`, or, if it was \
                 added again since, `evenkeel host add` once more"
            );
        }
        etcd::all_told(&left_out)
    }
}

/// The hosts that a backup brings back after they were taken out: their users of now may do nothing, and they are told nothing.
fn back(book: &Book, stored: &Rights, hosts: impl Iterator<Item = HostName>) -> BTreeSet<HostName> {
    let may = |user: &String| stored.users.get(user).is_some_and(|roles| !roles.is_empty());
    // Who makes backups may have come to it after this one.
    let own =
        |host: &HostName| book.access(host).into_keys().filter(|user| !is_backup(user)).collect::<Vec<_>>();
    hosts.filter(|host| !own(host).iter().all(may)).collect()
}

/// Sees that the image can do it, before anything is ended. A machine that has no engine is given one first, and
/// `evenkeel-etcd` looks for itself.
fn can_restore(
    host: &HostName,
    image: &str,
    ask: impl Fn(&str) -> Result<String, Failure>,
) -> Result<(), Failure> {
    if ask(&format!("{}; command -v $docker", images::SETTINGS)).is_err() {
        return Ok(());
    }
    let answer = ask(&ETCDUTL.script(image)).map_err(|failure| failure.message);
    ETCDUTL.judge(answer).map_err(|why| {
        Failure::new(format!(
            "{image} on {host}: {why}. Push it under the same name, `docker pull {image}` on {host}, and say this again; \
             nothing was changed"
        ))
    })
}

/// Ends the members of before, of which there are `all`. Those out of reach must not be able to decide among
/// themselves, once they are back, as an etcd of their own: before that is sure, none is ended.
fn set_aside(
    before: &[HostName],
    all: usize,
    lost: &[HostName],
    ask: impl Fn(&HostName, &str) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let each = |members: Vec<&HostName>, command: &str| -> Vec<HostName> {
        let mut unreached = Vec::new();
        for member in members {
            if let Err(failure) = ask(member, command) {
                say!("{member} is not reached: {failure}");
                unreached.push(member.clone());
            }
        }
        unreached
    };
    let may = |unreached: &[HostName]| {
        let back: Vec<_> = unreached.iter().filter(|member| !lost.contains(member)).collect();
        if could_decide(back.len(), all) {
            Err(back.into_iter().cloned().collect::<Vec<HostName>>())
        } else {
            Ok(())
        }
    };
    let unreached = each(before.iter().collect(), etcd::REACHED);
    may(&unreached).map_err(|back| come_back(&back, "nothing was changed"))?;
    let reached = before.iter().filter(|member| !unreached.contains(member)).collect();
    let failed = [unreached, each(reached, etcd::SET_ASIDE)].concat();
    may(&failed).map_err(|back| come_back(&back, "the other members are ended, and their data put aside"))
}

fn come_back(names: &[HostName], so_far: &str) -> Failure {
    let words =
        |word: fn(&HostName) -> String, between| names.iter().map(word).collect::<Vec<_>>().join(between);
    Failure::new(format!(
        "if {} come back as they were, they are an etcd of their own, with what was true before: end their members there \
         (`evenkeel-etcd stop`), or see that they stay off and say so: {}; {so_far}",
        words(ToString::to_string, " and "),
        words(|name| format!("--lost {name}"), " ")
    ))
}

/// Whether some of all members are enough to decide.
fn could_decide(some: usize, all: usize) -> bool {
    some * 2 > all
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cluster::book::Facts;

    #[test]
    fn hosts_that_were_taken_out_after_the_backup_are_known_by_what_their_users_may() {
        let home = tempfile::tempdir().unwrap();
        let [h1, h2, h3] = ["h1", "h2", "h3"].map(|name| name.parse::<HostName>().unwrap());
        // h1 came to it after this one.
        let facts = Facts { backups: [(h1.clone(), [10, 0, 0, 11].into())].into(), ..Facts::default() };
        let mut book = Book::create(home.path(), facts).unwrap();
        let roles = |some: bool| some.then(|| "its role".to_owned()).into_iter().collect::<BTreeSet<_>>();
        let users = [("evenkeel.host.h1", true), ("evenkeel.host.h2", true), ("evenkeel.host.h3@1", false)];
        let users = users.map(|(user, may)| (user.to_owned(), roles(may)));
        let stored = Rights { users: users.into(), ..Rights::default() };
        let hosts = || [h1.clone(), h2.clone(), h3.clone()].into_iter();
        assert_eq!(back(&book, &stored, hosts()), BTreeSet::from([h3.clone()]));
        book.facts.generations.retire_host(&h2, &Rights::default());
        book.facts.generations.retire_host(&h3, &Rights::default());
        assert_eq!(back(&book, &stored, hosts()), BTreeSet::from([h2, h3]));
    }

    #[test]
    fn members_out_of_reach_matter_if_they_are_the_most() {
        for (some, all, expected) in
            [(0, 1, false), (1, 3, false), (2, 3, true), (1, 2, false), (2, 5, false), (3, 5, true)]
        {
            assert_eq!(could_decide(some, all), expected, "{some} of {all}");
        }
    }

    #[test]
    fn an_image_that_cannot_restore_is_found_before_anything_is_ended() {
        let host: HostName = "h2".parse().unwrap();
        let lacks = |command: &str| {
            if command.contains("etcdutl") { Err(Failure::new("not found")) } else { Ok(String::new()) }
        };
        let failure = can_restore(&host, "r/etcd:1", lacks).unwrap_err();
        assert!(failure.message.contains("`docker pull r/etcd:1` on h2"), "{}", failure.message);
        can_restore(&host, "r/etcd:1", |_| Ok("  --bump-revision uint".to_owned())).unwrap();
        // Without an engine there is nobody to ask yet.
        can_restore(&host, "r/etcd:1", |_| Err(Failure::new("not found"))).unwrap();
    }

    #[test]
    fn no_member_is_ended_before_it_is_sure_that_those_out_of_reach_decide_nothing() {
        let host = |n: u8| format!("h{n}").parse::<HostName>().unwrap();
        // Of five members h1 begins anew; those of the others that are reached, those that are given up, and those that
        // are ended; none where it is refused.
        for (reached, lost, ended) in [
            (vec![2, 3, 4, 5], vec![], Some(vec![2, 3, 4, 5])),
            (vec![2, 3], vec![], Some(vec![2, 3])),
            (vec![2], vec![], None),
            (vec![2], vec![5], Some(vec![2])),
            (vec![], vec![3, 4], Some(vec![])),
        ] {
            let before: Vec<_> = (2..=5).map(host).collect();
            let done = RefCell::new(Vec::new());
            let ask = |member: &HostName, command: &str| {
                let there = reached.iter().find(|n| host(**n) == *member).copied();
                let there = there.ok_or_else(|| Failure::new("off"))?;
                if command == etcd::SET_ASIDE {
                    done.borrow_mut().push(there);
                }
                Ok(String::new())
            };
            let lost: Vec<_> = lost.into_iter().map(host).collect();
            let set_aside = set_aside(&before, 5, &lost, ask);
            assert_eq!(set_aside.is_ok(), ended.is_some(), "{reached:?}");
            assert_eq!(*done.borrow(), ended.unwrap_or_default(), "{reached:?}");
        }
    }
}
