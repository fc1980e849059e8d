//! `evenkeel cert`: the certificates of hosts and of whoever made the cluster, made anew.

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;

use super::upgrade::Upgrade;
use crate::cluster::book::Book;
use crate::config::Settings;
use crate::failure::Failure;

/// What about certificates.
#[derive(Debug, Args)]
pub struct Cert {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// New ones for all hosts, one after the other, and for you; other people get theirs by `evenkeel user add`
    Rotate {
        /// A host to leave as it is, as one that is switched off; may be given again
        #[arg(long = "skip", value_name = "HOST")]
        skip: Vec<HostName>,
    },
}

impl Cert {
    /// Does it.
    ///
    /// # Errors
    /// A host is away, or is not well with its own.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let Verb::Rotate { skip } = &self.verb;
        // Elsewhere nobody can sign.
        Book::need(&Book::home()?)?;
        Upgrade::to_the_same(skip.clone()).run(settings).await
    }
}
