//! `evenkeel etcd`: the members of the cluster's store, and hosts that become one.

mod decide;
mod tell;
mod work;

use clap::{Args, Subcommand};
use evenkeel_api::quantity::Span;

use self::decide::Seen;
pub use self::tell::{How, all_told, tell};
use self::work::Work;
pub use self::work::{REACHED, SET_ASIDE};
use super::defrag;
use crate::care::WATCH;
use crate::cluster::book::Book;
use crate::cluster::{person, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{say, table};
use crate::which::Which;

/// What about etcd.
#[derive(Debug, Args)]
pub struct Etcd {
    #[command(subcommand)]
    verb: Verb,
    /// How long each host is watched that is told where etcd is now, before the next one
    #[arg(long, global = true, default_value_t = WATCH)]
    watch: Span,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = "\
Examples:
  evenkeel etcd list")]
    /// All members, and whether they answer
    List,
    #[command(after_help = "\
Examples:
  evenkeel etcd defrag")]
    /// Let all members give back what they do not need, and take writes again when they were full
    Defrag,
    #[command(after_help = "\
Examples:
  evenkeel etcd add h2
  evenkeel etcd add 10.0.0.13 --watch 30s  every host is watched for longer when it is told")]
    /// Let a host carry a member; three of them outlive the loss of one. It may lead then
    Add {
        /// The host, by name or address
        host: Which,
    },
    #[command(after_help = "\
Examples:
  evenkeel etcd replace h2")]
    /// A member has lost its data: it goes, and its host, which must be on, gets a new one
    Replace {
        /// The host, by name or address
        host: Which,
    },
    #[command(after_help = "\
Examples:
  evenkeel etcd remove h2         the host stays, without a member
  evenkeel etcd remove h2 --dead  it will not come back: nothing is done there")]
    /// Let a host carry none any more; the others must be able to decide without it
    Remove {
        /// The host, by name or address
        host: Which,
        /// It is gone and will not come back: `evenkeel host remove HOST --dead` may follow
        #[arg(long)]
        dead: bool,
    },
}

impl Etcd {
    /// Does it.
    ///
    /// # Errors
    /// This is not where the cluster was made, there is no such host, or a step fails.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let book = match &self.verb {
            Verb::List | Verb::Defrag => whose::need_book(settings)?,
            Verb::Add { .. } | Verb::Replace { .. } | Verb::Remove { .. } => {
                whose::need_book_to_change(settings)?
            }
        };
        let mut work = match &self.verb {
            Verb::Defrag => return defrag::run(&book).await,
            _ => Work::new(book, self.watch)?,
        };
        if !matches!(self.verb, Verb::List | Verb::Defrag) {
            work.catch_up().await?;
        }
        match &self.verb {
            Verb::List | Verb::Defrag => return list(&work.look().await?),
            Verb::Add { host } => work.add(&work.host(host).await?).await?,
            Verb::Replace { host } => work.replace(&work.host(host).await?).await?,
            Verb::Remove { host, dead } => work.remove(&work.host(host).await?, *dead).await?,
        }
        person::settings(&Book::home()?, &work.book)?;
        tally(&work.look().await?);
        all_told(&work.left_out)
    }
}

fn list(members: &[Seen]) -> Result<(), Failure> {
    let rows = members.iter().map(|seen| {
        let member = &seen.member;
        let name = if member.name.is_empty() { "-" } else { &member.name };
        vec![name.to_owned(), member.peer_url.clone(), seen.state()]
    });
    table(&["MEMBER", "ADDRESS", "STATE"], rows.collect(), "no members");
    Ok(())
}

/// What a person must know of them in the end.
fn tally(members: &[Seen]) {
    let mut names: Vec<_> = members.iter().map(Seen::name).collect();
    names.sort_unstable();
    let what = match members.iter().filter(|seen| !seen.member.learns).count() {
        1 => ": without it nothing is decided",
        2 => ": without either of them nothing is decided",
        _ => "",
    };
    let members = if names.len() == 1 { "one member".to_owned() } else { format!("{} members", names.len()) };
    say!("etcd has {members}, {}{what}", names.join(", "));
}
