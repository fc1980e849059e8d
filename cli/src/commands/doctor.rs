//! `evenkeel doctor`: what is wrong with machines and the cluster, and the command that mends it.

use std::collections::BTreeMap;

use clap::Args;
use evenkeel_api::name::HostName;
use evenkeel_doctor::facts::{Asked, Found, Machine};
use evenkeel_doctor::{Finding, Severity, judge};
use serde::Serialize;

use crate::checkup::settings::is_host;
use crate::checkup::{here, settings, store, there};
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{Format, say, structured};
use crate::which::Which;

/// What to look at.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel doctor                    the cluster, and this machine if it is a host
  evenkeel doctor --all              the cluster, and all its hosts, over ssh as root
  evenkeel doctor h2 h3              the cluster, and these
  evenkeel doctor --here             this machine alone; needs no etcd

Exit codes: 0 nothing hurts, 1 something does, or could not be looked at; warnings count for nothing")]
pub struct Doctor {
    /// Hosts to look at, by name or address
    #[arg(value_name = "HOST")]
    hosts: Vec<Which>,
    /// All hosts
    #[arg(long, conflicts_with = "hosts")]
    all: bool,
    /// This machine alone
    #[arg(long, conflicts_with_all = ["hosts", "all"])]
    here: bool,
    /// Also what is as it should be
    #[arg(short, long)]
    verbose: bool,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Report<'a> {
    /// What was found here, if this machine alone was looked at: whoever asks from elsewhere judges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a Asked<Machine>>,
    findings: &'a [Finding],
}

impl Doctor {
    /// Does it.
    ///
    /// # Errors
    /// Something is wrong that hurts.
    pub async fn run(&self, given: &Settings, format: Format) -> Result<(), Failure> {
        if self.here {
            if !is_root() {
                return Err(Failure::new(
                    "what a host holds is root's to see: do it as root, as by `sudo evenkeel doctor --here`",
                ));
            }
            let (name, machine) = (this_host()?, here::machine().await);
            let found = Found { cluster: None, machines: [(name, machine)].into() };
            let findings = judge(&found);
            return self.tell(format, found.machines.values().next(), &findings);
        }
        let book = whose::book(given)?;
        let mut unseen = Vec::new();
        let cluster = match crate::etcd_of(given) {
            Err(failure) if book.is_none() && is_host() && self.looks_here() => {
                let why = failure.message.replace("\n  ", " ");
                unseen.push(not_seen(None, "the cluster", &why, "do this where your settings are"));
                None
            }
            Err(failure) if book.is_none() => return Err(failure),
            _ => Some(store::cluster(given, book.as_ref()).await),
        };
        let machines = if self.looks_here() {
            this_machine(&mut unseen).await?
        } else {
            self.machines(given, book.as_ref()).await?
        };
        let mut findings = judge(&Found { cluster, machines });
        findings.append(&mut unseen);
        findings.sort_by_key(|finding| finding.severity);
        self.tell(format, None, &findings)
    }

    /// Whether of all machines this one alone is looked at.
    fn looks_here(&self) -> bool {
        !self.all && self.hosts.is_empty()
    }

    /// The machines that are asked for, looked at all at once.
    async fn machines(
        &self,
        given: &Settings,
        book: Option<&Book>,
    ) -> Result<BTreeMap<HostName, Asked<Machine>>, Failure> {
        let config = book.map_or_else(|| crate::etcd_of(given), |book| Ok(book.root()))?;
        let known = store::addresses(&config, book).await?;
        let asked: Vec<HostName> = match self.all {
            true => known.keys().cloned().collect(),
            false => self.hosts.iter().map(|host| host.name_among(&known)).collect::<Result<_, _>>()?,
        };
        let mut work = Vec::new();
        for host in asked {
            let Some(address) = known.get(&host).copied() else {
                return Err(Failure::new(format!("there is no host {host}: see `evenkeel host list`")));
            };
            work.push((host, tokio::spawn(look(Place::of(address, None)))));
        }
        let mut machines = BTreeMap::new();
        for (host, task) in work {
            let found = task.await.unwrap_or_else(|error| Err(error.to_string()));
            machines.insert(host, found);
        }
        Ok(machines)
    }

    fn tell(
        &self,
        format: Format,
        machine: Option<&Asked<Machine>>,
        findings: &[Finding],
    ) -> Result<(), Failure> {
        if format == Format::Table {
            print(findings, self.verbose);
        } else {
            structured(format, &Report { machine, findings })?;
        }
        match findings.iter().filter(|finding| finding.severity == Severity::Hurts).count() {
            0 => Ok(()),
            1 => Err(Failure::new("1 thing is wrong that hurts")),
            many => Err(Failure::new(format!("{many} things are wrong that hurt"))),
        }
    }
}

/// Looks at a host, wherever it is.
pub async fn look(place: Place) -> Asked<Machine> {
    if matches!(place, Place::Here) {
        return here::machine().await;
    }
    // Beside the runtime's one thread: ssh may take its time.
    let asked = tokio::task::spawn_blocking(move || there::machine(&place)).await;
    asked.unwrap_or_else(|error| Err(error.to_string()))
}

/// This machine, if it is a host, and its owner asks.
async fn this_machine(unseen: &mut Vec<Finding>) -> Result<BTreeMap<HostName, Asked<Machine>>, Failure> {
    if !is_host() {
        return Ok(BTreeMap::new());
    }
    let host = this_host()?;
    if !is_root() {
        let why = "what a host holds is root's to see";
        unseen.push(not_seen(Some(host), "this host", why, "sudo evenkeel doctor --here"));
        return Ok(BTreeMap::new());
    }
    Ok([(host, here::machine().await)].into())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// What nobody looked at is not known to be well.
fn not_seen(host: Option<HostName>, what: &str, why: &str, mend: &str) -> Finding {
    Finding {
        severity: Severity::Warns,
        host,
        check: "reach".to_owned(),
        what: format!("{what} was not looked at: {why}"),
        mend: mend.to_owned(),
    }
}

fn this_host() -> Result<HostName, Failure> {
    if !is_host() {
        return Err(Failure::new(
            "this machine is no host: /etc/evenkeel/cluster.env and host.env are not there; `evenkeel host add` of it, \
             where the cluster was made, makes it one",
        ));
    }
    settings::Settings::of_host().and_then(|found| found.host()).map_err(Failure::new)
}

/// Prints findings, worst first; what is fine only if it is asked for.
pub fn print(findings: &[Finding], verbose: bool) {
    let word = |severity| match severity {
        Severity::Hurts => "HURTS",
        Severity::Warns => "warns",
        Severity::Fine => "ok",
    };
    let mut fine = 0;
    for finding in findings {
        if finding.severity == Severity::Fine && !verbose {
            fine += 1;
            continue;
        }
        let at = finding.host.as_ref().map_or("cluster", HostName::as_str);
        say!("{:<5}  {at}: {}", word(finding.severity), finding.what);
        if !finding.mend.is_empty() {
            say!("       -> {}", finding.mend);
        }
    }
    if fine > 0 {
        say!("{fine} things are as they should be; --verbose names them");
    }
}
