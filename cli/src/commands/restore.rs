//! `evenkeel restore`: an etcd that lost all its members begins again from a backup.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::name::HostName;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::Admin;
use evenkeel_runtime::store::Store;
use tokio::time::timeout;

use super::{etcd, init};
use crate::cluster::book::Book;
use crate::cluster::deliver::{Place, quoted};
use crate::cluster::person;
use crate::failure::Failure;
use crate::output::say;

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
    /// The host with the backup, which will carry etcd
    host: HostName,
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
    pub async fn run(&self) -> Result<(), Failure> {
        let home = Book::home()?;
        let mut book = Book::need(&home)?;
        let known = book.facts.backups.get(&self.host).or(book.facts.members.get(&self.host)).copied();
        let Some(address) = known else {
            return Err(Failure::new(format!("{} keeps no backups: see `evenkeel backup list`", self.host)));
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
        self.set_aside(&book)?;
        book.facts.members = [(self.host.clone(), address)].into();
        book.save()?;
        let mut ticket = book.ticket(&self.host, address, false)?;
        if let Some(member) = &mut ticket.etcd {
            member.restore = Some(self.file.clone());
        }
        place.deliver(&ticket)?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        init::answers(&admin).await?;
        crate::cluster::rights::ensure(&admin, &book.access(&self.host)).await?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        etcd::tell(&book, &store, &self.host).await?;
        person::settings(&home, &book)?;
        say!("\netcd runs on {} as it was in the backup. Next:\n", self.host);
        say!(
            "  evenkeel etcd add HOST        for each that carried it: hosts that may lead remember documents"
        );
        say!("  evenkeel recover              what it lacks, and both ways out; until then nothing changes");
        say!("  evenkeel host add ADDRESS     for each host that came after the backup");
        Ok(())
    }
}

impl Restore {
    /// Ends the members of before. Those out of reach must not be able to decide among themselves, once they are
    /// back, as an etcd of their own.
    fn set_aside(&self, book: &Book) -> Result<(), Failure> {
        let mut unreached = Vec::new();
        for (member, address) in book.facts.members.iter().filter(|(member, _)| **member != self.host) {
            if let Err(failure) = Place::of(*address, None).ask(etcd::SET_ASIDE) {
                say!("{member} is not reached: {failure}");
                unreached.push(member);
            }
        }
        let back: Vec<_> = unreached.into_iter().filter(|member| !self.lost.contains(member)).collect();
        if !could_decide(back.len(), book.facts.members.len()) {
            return Ok(());
        }
        let names = back.iter().map(ToString::to_string).collect::<Vec<_>>();
        Err(Failure::new(format!(
            "if {} come back as they were, they are an etcd of their own, with what was true before: end their members \
             there (`evenkeel-etcd stop`), or see that they stay off and say so: {}",
            names.join(" and "),
            names.iter().map(|name| format!("--lost {name}")).collect::<Vec<_>>().join(" ")
        )))
    }
}

/// Whether some of all members are enough to decide.
fn could_decide(some: usize, all: usize) -> bool {
    some * 2 > all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_out_of_reach_matter_if_they_are_the_most() {
        for (some, all, expected) in
            [(0, 1, false), (1, 3, false), (2, 3, true), (1, 2, false), (2, 5, false), (3, 5, true)]
        {
            assert_eq!(could_decide(some, all), expected, "{some} of {all}");
        }
    }
}
