//! `evenkeel backup`: all that etcd holds, kept on hosts every hour.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::Timestamp;
use evenkeel_cluster::backups;
use evenkeel_etcd::EtcdConfig;
use evenkeel_etcd::rights::Admin;

use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::{now, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{age, say, table};

/// Where hosts keep them.
const FOLDER: &str = "/var/lib/evenkeel-backup";

/// What about backups.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = "\
Examples:
  evenkeel backup now
  evenkeel backup now --to /mnt/usb  before something that may go wrong")]
    /// Make one now, into a folder of this machine
    Now {
        /// Which
        #[arg(long, value_name = "DIR", default_value = FOLDER)]
        to: PathBuf,
    },
    #[command(after_help = "\
Examples:
  evenkeel backup list

`evenkeel restore HOST FILE` takes a host and a file of that list.")]
    /// All there are, on all hosts that make them
    List,
    /// Make them for ever: what each host's backup container does
    #[command(hide = true)]
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    to: PathBuf,
    /// How often
    #[arg(long, default_value = "1h")]
    every: Span,
    /// How many are kept at least
    #[arg(long, default_value_t = 48)]
    keep: usize,
    /// Of how many days one is kept
    #[arg(long, default_value_t = 14)]
    days: usize,
}

/// After one that failed.
const AGAIN: Duration = Duration::from_secs(60);

impl Backup {
    /// Does it.
    ///
    /// # Errors
    /// etcd gives no snapshot, or it cannot be kept.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        match &self.verb {
            Verb::Now { to } => {
                let book = whose::need_book(settings)?;
                let (path, bytes) = make(&book.root(), to).await?;
                say!("{}: {bytes} bytes", path.display());
                Ok(())
            }
            Verb::List => list(&whose::need_book(settings)?).await,
            Verb::Run(run) => run.run(&crate::etcd_of(settings)?).await,
        }
    }
}

impl Run {
    async fn run(&self, etcd: &EtcdConfig) -> Result<(), Failure> {
        // A restart is no reason for one more.
        let newest = names(&self.to).unwrap_or_default().iter().filter_map(|name| backups::time(name)).max();
        let age = newest.map_or(self.every.0, |made| now().saturating_sub(made));
        tokio::time::sleep(self.every.0.saturating_sub(age)).await;
        loop {
            let pause = match make(etcd, &self.to).await {
                Ok((path, bytes)) => {
                    say!("{}: {bytes} bytes", path.display());
                    self.tidy()?;
                    self.every.0
                }
                Err(failure) => {
                    say!("no backup: {failure}");
                    AGAIN.min(self.every.0)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn tidy(&self) -> Result<(), Failure> {
        let names = names(&self.to)?;
        for gone in backups::surplus(names.iter().map(String::as_str), self.keep, self.days) {
            fs::remove_file(self.to.join(gone))?;
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Makes one, as a whole or not at all: where it is, and how large.
async fn make(etcd: &EtcdConfig, folder: &Path) -> Result<(PathBuf, u64), Failure> {
    let told = |path: &Path, error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
    let path = folder.join(backups::name(now()));
    let new = path.with_extension("new");
    let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut file = options.map_err(|error| told(&new, error))?;
    let admin = Admin::new(etcd).map_err(Failure::new)?;
    let made = admin.snapshot(|piece| file.write_all(piece)).await;
    match made {
        Ok(bytes) => {
            file.sync_all().and_then(|()| fs::rename(&new, &path)).map_err(|error| told(&path, error))?;
            Ok((path, bytes))
        }
        Err(error) => {
            let _gone = fs::remove_file(&new);
            Err(Failure::new(format!("etcd's snapshot: {error}")))
        }
    }
}

/// Those of all hosts that can be asked; the others are named.
async fn list(book: &Book) -> Result<(), Failure> {
    let command = format!("cd {FOLDER} 2>/dev/null && stat -c '%n %s' etcd-*.db 2>/dev/null || true");
    let mut asked = Vec::new();
    for (host, address) in &book.facts.backups {
        let (place, command) = (Place::of(*address, None), command.clone());
        asked.push((host, tokio::spawn(async move { place.asks(&command).await })));
    }
    let mut said = BTreeMap::new();
    for (host, answer) in asked {
        said.insert(host, answer.await.map_err(Failure::new)?);
    }
    let (rows, silent) = sorted(said, now());
    table(&["HOST", "FILE", "AGE", "BYTES"], rows, "no backups");
    silent.map_or(Ok(()), Err)
}

/// What there is, and a failure that names those who could not be asked.
fn sorted(
    said: BTreeMap<&HostName, Result<String, Failure>>,
    now: Duration,
) -> (Vec<Vec<String>>, Option<Failure>) {
    let all = said.len();
    let since = |time: Duration| Timestamp(i64::try_from(time.as_millis()).unwrap_or_default());
    let (mut rows, mut silent) = (Vec::new(), Vec::new());
    for (host, said) in said {
        let said = match said {
            Ok(said) => said,
            Err(failure) => {
                silent.push(format!("{host}: {failure}"));
                continue;
            }
        };
        for (name, bytes) in said.lines().filter_map(|line| line.split_once(' ')) {
            let Some(made) = backups::time(name) else { continue };
            rows.push(vec![
                host.to_string(),
                format!("{FOLDER}/{name}"),
                age(since(made), since(now)),
                bytes.to_owned(),
            ]);
        }
    }
    let failure = (!silent.is_empty()).then(|| {
        let silent = silent.join("\n  ");
        Failure::not_converged(format!("of {all} hosts that keep backups, these were not asked:\n  {silent}"))
    });
    (rows, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_off_hides_nobody_elses_backups() {
        let hosts = ["h1", "h2", "h3"].map(|name| name.parse::<HostName>().unwrap());
        let now = Duration::from_secs(1_795_982_460);
        let backup = || Ok("etcd-001795982400.db 20480\nlost+found 5".to_owned());
        let off = || Err(Failure::new("h2 is not reached"));
        let rows = |said: [Result<String, Failure>; 3]| sorted(hosts.iter().zip(said).collect(), now);
        let (found, failure) = rows([backup(), off(), backup()]);
        let row = |host: &str| {
            [host, "/var/lib/evenkeel-backup/etcd-001795982400.db", "1m00s", "20480"]
                .map(str::to_owned)
                .to_vec()
        };
        assert_eq!(found, [row("h1"), row("h3")]);
        let failure = failure.unwrap();
        assert_eq!(failure.code, 3);
        assert!(failure.message.contains("h2 is not reached") && !failure.message.contains("h1"));
        let (found, failure) = rows([backup(), Ok(String::new()), backup()]);
        assert_eq!((found.len(), failure.is_none()), (2, true));
    }
}
