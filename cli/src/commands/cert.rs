//! `evenkeel cert`: the certificates of hosts and of whoever made the cluster, made anew.

use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_cluster::Ticket;
use evenkeel_etcd::rights::Admin;
use tokio::time::timeout;

use super::init;
use super::upgrade::Upgrade;
use crate::care::WATCH;
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::generations::person_of;
use crate::cluster::{now, trust, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;

/// An etcd that answers at all does so sooner.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What about certificates.
#[derive(Debug, Args)]
pub struct Cert {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// New ones for all hosts, one after the other, and for you; other people get theirs by `evenkeel user add`
    Rotate(Rotate),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel cert rotate                 once a year: hosts and you
  evenkeel cert rotate --authority     once in ten years, first: a second authority, which all hosts trust then
  evenkeel user add ann --team shop    …then a new folder for everyone
  evenkeel cert rotate --finish        …then it signs for all, and the first one is trusted no more")]
struct Rotate {
    /// A host to leave as it is, as one that is switched off; may be given again
    #[arg(long = "skip", value_name = "HOST")]
    skip: Vec<HostName>,
    /// How long each host is watched before the next one
    #[arg(long, default_value_t = WATCH)]
    watch: Span,
    /// Make the authorities anew that sign all others: from then on both are trusted
    #[arg(long)]
    authority: bool,
    /// Let the new authorities sign, and trust the ones of before no more
    #[arg(long, conflicts_with_all = ["authority", "skip"])]
    finish: bool,
}

impl Cert {
    /// Does it.
    ///
    /// # Errors
    /// A host is away, or is not well with its own.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let Verb::Rotate(rotate) = &self.verb;
        // Elsewhere nobody can sign.
        let mut book = whose::need_book_to_change(settings)?;
        if rotate.authority {
            for signers in book.signers() {
                signers.prepare(now())?;
            }
            rotate.round(&book, settings).await?;
            return people(&book).await;
        }
        if rotate.finish {
            return rotate.finish(&mut book, settings).await;
        }
        rotate.round(&book, settings).await
    }
}

impl Rotate {
    /// Certificates as the book gives them now, for one host after the other.
    async fn round(&self, book: &Book, settings: &Settings) -> Result<(), Failure> {
        self.revive(book).await?;
        Upgrade::to_the_same(self.skip.clone(), self.watch).exchange(Some(book), settings).await
    }

    /// Members of etcd whose certificates have ended answer nobody, and without etcd no host can be asked after: theirs come first,
    /// and need the book alone.
    async fn revive(&self, book: &Book) -> Result<(), Failure> {
        book.renew()?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        self.revive_by(
            book,
            async || timeout(ANSWERS_WITHIN, admin.members()).await.is_ok_and(|members| members.is_ok()),
            async |ticket| Place::of(ticket.address, None).delivers(ticket).await,
            async || init::answers(&admin).await,
        )
        .await
    }

    /// The same: whether etcd answers at once, how a ticket comes to its host, and whether etcd answers in time.
    async fn revive_by(
        &self,
        book: &Book,
        answers: impl AsyncFn() -> bool,
        delivers: impl AsyncFn(Ticket) -> Result<(), Failure>,
        answers_in_time: impl AsyncFn() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if answers().await {
            return Ok(());
        }
        say!("etcd does not answer: its members are given new certificates first");
        let mut failed = Vec::new();
        for (host, address) in book.facts.members.iter().filter(|(host, _)| !self.skip.contains(host)) {
            match delivers(book.ticket(host, *address, true)?).await {
                Ok(()) => say!("{host}: has them"),
                Err(failure) => failed.push(format!("\n  {host}: {failure}")),
            }
        }
        // One that is off does not matter if the others decide.
        answers_in_time()
            .await
            .map_err(|failure| Failure { message: format!("{failure}{}", failed.concat()), ..failure })
    }

    async fn finish(&self, book: &mut Book, settings: &Settings) -> Result<(), Failure> {
        if !book.signers().iter().any(|signers| signers.has_next() || signers.has_before()) {
            return Err(Failure::new(
                "there is no second authority: `evenkeel cert rotate --authority` makes one; if this was cut off in its last \
                 round, `evenkeel cert rotate` goes on",
            ));
        }
        self.revive(book).await?;
        trust::demand(book).await?;
        for signers in book.signers() {
            signers.exchange()?;
        }
        say!("the new authorities sign:");
        self.round(book, settings).await?;
        for signers in book.signers() {
            signers.forget()?;
        }
        say!("those of before are trusted no more:");
        self.round(book, settings).await
    }
}

/// What a person must do before the end.
async fn people(book: &Book) -> Result<(), Failure> {
    let admin = Admin::new(&book.root()).map_err(Failure::new)?;
    let rights = admin.read().await?;
    // Whoever made the cluster has theirs already.
    let others = rights.users.keys().filter(|user| *user != init::OPERATOR);
    let names: Vec<_> = others.filter_map(|user| person_of(user)).map(|name| name.to_string()).collect();
    say!("all hosts trust both authorities, and so do you");
    if !names.is_empty() {
        say!("these need a new folder each, by `evenkeel user add NAME … --to DIR`: {}", names.join(", "));
    }
    say!("then: evenkeel cert rotate --finish");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::book::Facts;
    use crate::cluster::generations::Generations;

    /// A cluster whose etcd is on h1, h2 and h3.
    fn book(home: &std::path::Path) -> Book {
        let members = [1, 2, 3].map(|n| (format!("h{n}").parse().unwrap(), [10, 0, 0, 10 + n].into()));
        let facts = Facts {
            uid: "u".to_owned(),
            prefix: "/evenkeel/v1".to_owned(),
            image: "r/evenkeel:1".to_owned(),
            etcd_image: "r/etcd:3".to_owned(),
            separate: false,
            members: members.into(),
            backups: BTreeMap::new(),
            generations: Generations::default(),
        };
        Book::create(home, facts).unwrap()
    }

    #[tokio::test]
    async fn members_of_an_etcd_that_answers_nobody_are_given_certificates_by_the_book_alone() {
        let home = tempfile::tempdir().unwrap();
        let book = book(home.path());
        let host = |name: &str| name.parse::<HostName>().unwrap();
        // Whether etcd answers before, those that are left out and that are off, whether it answers then: who is given some,
        // and what is told of those who were not.
        for (answers, skip, off, then, given, told) in [
            (true, None, None, true, vec![], None),
            (false, None, None, true, vec!["h1", "h2", "h3"], None),
            (false, Some("h2"), None, true, vec!["h1", "h3"], None),
            (false, None, Some("h1"), true, vec!["h2", "h3"], None),
            (false, None, Some("h1"), false, vec!["h2", "h3"], Some("etcd is away\n  h1: it is off")),
        ] {
            let skip = skip.map(host).into_iter().collect();
            let rotate = Rotate { skip, watch: WATCH, authority: false, finish: false };
            let tickets = RefCell::new(Vec::new());
            let delivers = async |ticket: Ticket| {
                if off.map(host).as_ref() == Some(&ticket.host) {
                    return Err(Failure::new("it is off"));
                }
                tickets.borrow_mut().push(ticket);
                Ok(())
            };
            let then = async || if then { Ok(()) } else { Err(Failure::timed_out("etcd is away")) };
            let done = rotate.revive_by(&book, async || answers, delivers, then).await;
            assert_eq!(done.err().map(|failure| failure.message).as_deref(), told);
            let tickets = tickets.into_inner();
            assert_eq!(tickets.iter().map(|ticket| ticket.host.as_str()).collect::<Vec<_>>(), given);
            for ticket in tickets {
                assert_eq!(Some(&ticket.address), book.facts.members.get(&ticket.host));
                // A member of before, with its data: it is no new etcd that begins.
                let member = ticket.etcd.unwrap();
                assert!(member.joins && member.restore.is_none());
            }
        }
    }
}
