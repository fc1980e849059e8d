//! `evenkeel cert`: the certificates of hosts and of whoever made the cluster, made anew.

use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_etcd::rights::Admin;
use tokio::time::timeout;

use super::init;
use super::upgrade::Upgrade;
use crate::care::WATCH;
use crate::cluster::book::{Book, PERSON};
use crate::cluster::deliver::Place;
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
            rotate.round(settings).await?;
            return people(&book).await;
        }
        if rotate.finish {
            return rotate.finish(&mut book, settings).await;
        }
        rotate.round(settings).await
    }
}

impl Rotate {
    /// Certificates as the book gives them now, for one host after the other.
    async fn round(&self, settings: &Settings) -> Result<(), Failure> {
        self.revive(&whose::need_book(settings)?).await?;
        Upgrade::to_the_same(self.skip.clone(), self.watch).run(settings).await
    }

    /// Members of etcd whose certificates have ended answer nobody, and without etcd no host can be asked after: theirs come first,
    /// and need the book alone.
    async fn revive(&self, book: &Book) -> Result<(), Failure> {
        book.renew()?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        if timeout(ANSWERS_WITHIN, admin.members()).await.is_ok_and(|members| members.is_ok()) {
            return Ok(());
        }
        say!("etcd does not answer: its members are given new certificates first");
        let mut failed = Vec::new();
        for (host, address) in book.facts.members.iter().filter(|(host, _)| !self.skip.contains(host)) {
            match Place::of(*address, None).delivers(book.ticket(host, *address, true)?).await {
                Ok(()) => say!("{host}: has them"),
                Err(failure) => failed.push(format!("\n  {host}: {failure}")),
            }
        }
        // One that is off does not matter if the others decide.
        init::answers(&admin)
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
        self.round(settings).await?;
        for signers in book.signers() {
            signers.forget()?;
        }
        say!("those of before are trusted no more:");
        self.round(settings).await
    }
}

/// What a person must do before the end.
async fn people(book: &Book) -> Result<(), Failure> {
    let admin = Admin::new(&book.root()).map_err(Failure::new)?;
    let rights = admin.read().await?;
    // Whoever made the cluster has theirs already.
    let others = rights.users.keys().filter(|user| **user != init::operator());
    let names: Vec<_> = others.filter_map(|user| user.strip_prefix(PERSON)).collect();
    say!("all hosts trust both authorities, and so do you");
    if !names.is_empty() {
        say!("these need a new folder each, by `evenkeel user add NAME … --to DIR`: {}", names.join(", "));
    }
    say!("then: evenkeel cert rotate --finish");
    Ok(())
}
