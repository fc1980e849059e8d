//! `evenkeel cert`: the certificates of hosts and of whoever made the cluster, made anew.

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_etcd::rights::Admin;

use super::init;
use super::upgrade::Upgrade;
use crate::care::WATCH;
use crate::cluster::answers::revive;
use crate::cluster::book::Book;
use crate::cluster::generations::person_of;
use crate::cluster::{now, trust, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;

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
            rotate.round(&mut book, settings).await?;
            return people(&book).await;
        }
        if rotate.finish {
            return rotate.finish(&mut book, settings).await;
        }
        rotate.round(&mut book, settings).await
    }
}

impl Rotate {
    /// Certificates as the book gives them now, for one host after the other.
    async fn round(&self, book: &mut Book, settings: &Settings) -> Result<(), Failure> {
        revive(book, &self.skip).await?;
        Upgrade::to_the_same(self.skip.clone(), self.watch).exchange(Some(book), settings).await
    }

    async fn finish(&self, book: &mut Book, settings: &Settings) -> Result<(), Failure> {
        if !book.signers().iter().any(|signers| signers.has_next() || signers.has_before()) {
            return Err(Failure::new(
                "there is no second authority: `evenkeel cert rotate --authority` makes one; if this was cut off in its last \
                 round, `evenkeel cert rotate` goes on",
            ));
        }
        revive(book, &self.skip).await?;
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
    let others = rights.users.iter().filter(|(user, roles)| *user != init::OPERATOR && !roles.is_empty());
    let names: Vec<_> = others.filter_map(|(user, _)| person_of(user)).map(|name| name.to_string()).collect();
    say!("all hosts trust both authorities, and so do you");
    if !names.is_empty() {
        say!("these need a new folder each, by `evenkeel user add NAME … --to DIR`: {}", names.join(", "));
    }
    say!("then: evenkeel cert rotate --finish");
    Ok(())
}
