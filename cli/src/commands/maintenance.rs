//! `evenkeel host maintenance`: a host is rebooted, or worked on while it is off, and nothing of what it ran is
//! missed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::host::Availability;
use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::Alive;
use evenkeel_doctor::facts::{Found, Member};
use evenkeel_doctor::{Finding, Severity, judge};
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::store::Store;
use tokio::signal::unix::{SignalKind, signal};

use super::{availability, doctor, host, stays};
use crate::checkup::store as checkup;
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll, poll_every};
use crate::snapshot;
use crate::which::Which;

/// Which host, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel host maintenance h2             drains it, waits for your reboot, looks at it, undrains it
  evenkeel host maintenance h2 --reboot    the same, and reboots it

Done on another machine than the host. It refuses where copies fit nowhere else, or etcd would lose its majority.
Whatever ends it, also Ctrl-C, leaves the host drained, and it says how to go on.")]
pub struct Maintenance {
    /// Its name, or its address
    host: Which,
    /// Reboot it by `systemctl reboot`
    #[arg(long)]
    reboot: bool,
    /// Also where copies are missed meanwhile, or nothing is decided
    #[arg(long)]
    force: bool,
    /// How long its copies may take to move
    #[arg(long, default_value = "10m")]
    timeout: Span,
    /// How long it may take until it is back
    #[arg(long, default_value = "1h")]
    back_within: Span,
    /// How ssh reaches it as root [default: root@ADDRESS]
    #[arg(long, value_name = "TARGET")]
    ssh: Option<String>,
}

/// How long a host that is back may take until nothing is wrong with it any more.
const WELL_WITHIN: Duration = Duration::from_secs(180);
/// Each look at a host asks it by ssh.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Says whether a machine can be rebooted from elsewhere, and that ssh reaches it.
const SYSTEMD: &str = "if [ -d /run/systemd/system ]; then echo systemd; else echo none; fi";
/// Not at once: the one who says it is to hear that it was heard.
const REBOOT: &str = "nohup sh -c 'sleep 1; systemctl reboot' >/dev/null 2>&1 </dev/null &";

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its copies move.
    Drains,
    /// It is empty, and not back yet.
    Reboots,
    /// It is back.
    Recovers,
}

struct Work<'a> {
    args: &'a Maintenance,
    host: HostName,
    config: EtcdConfig,
    book: Option<Book>,
    settings: &'a Settings,
    store: Arc<dyn Store>,
    place: Place,
    /// None: nothing was changed yet.
    stage: Cell<Option<Stage>>,
}

impl Maintenance {
    /// Does it.
    ///
    /// # Errors
    /// It would do harm, the host does not come back, something is wrong with it then, or a person ends it.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let book = whose::book(settings)?;
        let config = book.as_ref().map_or_else(|| crate::etcd_of(settings), |book| Ok(book.root()))?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&config).map_err(Failure::new)?);
        let hosts = snapshot::hosts(&store).await?;
        let host = self.host.name(&store).await?;
        let Some(found) = hosts.accepted.get(&host) else {
            return Err(Failure::new(format!("there is no host {host}: see `evenkeel host list`")));
        };
        let place = Place::of(found.spec.address, self.ssh.as_deref());
        let boot = hosts.alive.get(&host).map(|alive| alive.boot_id.clone());
        let work = Work { args: self, host, config, book, settings, store, place, stage: Cell::new(None) };
        let stays = work.may(boot.is_some()).await?;
        let done = tokio::select! {
            done = work.go(boot, &stays) => done,
            ended = interrupted() => Err(ended),
        };
        done.map_err(|failure| match work.stage.get() {
            None => failure,
            Some(stage) => {
                Failure { message: format!("{failure}\n  {}", go_on(&work.host, stage)), code: failure.code }
            }
        })
    }
}

/// Until a person ends it.
async fn interrupted() -> Failure {
    let end = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            // Then the signal ends the process as ever.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end(SignalKind::interrupt()) => {}
        () = end(SignalKind::terminate()) => {}
    }
    // What shells give for it.
    Failure { code: 130, message: "ended before it was done".to_owned() }
}

/// What a person does next when it ended in the middle.
fn go_on(host: &HostName, at: Stage) -> String {
    let again = format!("`evenkeel host maintenance {host}` goes on");
    let check = format!("when it is back: `evenkeel doctor {host}`, then `evenkeel host undrain {host}`");
    match at {
        Stage::Drains => {
            format!("{host} is drained: {again}; or take it back by `evenkeel host undrain {host}`")
        }
        Stage::Reboots => format!("{host} is drained, and may be rebooted; {check}"),
        Stage::Recovers => format!("{host} is drained still; {check}"),
    }
}

/// Why etcd cannot be without the member on a host for a while.
fn etcd_needs(host: &HostName, members: &BTreeMap<String, Member>) -> Option<String> {
    let votes: Vec<&Member> = members.values().filter(|member| !member.learns).collect();
    if !votes.iter().any(|member| member.host.as_ref() == Some(host)) {
        return None;
    }
    let others = votes.iter().filter(|member| member.host.as_ref() != Some(host));
    let answer = others.filter(|member| matches!(member.answer, Some(Ok(_)))).count();
    let most = votes.len() / 2 + 1;
    (answer < most).then(|| {
        format!(
            "etcd has {} members that vote and needs {most}, and {answer} beside that of {host} answer: without it nothing \
             is decided, and exclusive copies end; `evenkeel etcd list` shows them, `evenkeel etcd add` brings more in",
            votes.len(),
        )
    })
}

impl Work<'_> {
    /// Refuses what would do harm; the copies that stay where they are.
    async fn may(&self, alive: bool) -> Result<BTreeSet<InstanceId>, Failure> {
        let host = &self.host;
        if matches!(self.place, Place::Here) {
            return Err(Failure::new(format!(
                "{host} is this very machine, and this command would end with it: do it on another one, or say `evenkeel \
                 host drain {host} --wait`, and `evenkeel host undrain {host}` after the reboot"
            )));
        }
        let systemd = self.place.asks(SYSTEMD).await?;
        if self.args.reboot && systemd != "systemd" {
            return Err(Failure::new(format!(
                "{host} has no systemd, so it cannot be rebooted from here: leave --reboot away, and reboot it when this \
                 says so"
            )));
        }
        let mut harm = Vec::new();
        if !alive {
            harm.push(format!("{host} is gone: it is not known which reboot is to be waited for"));
        }
        let members = checkup::members(&self.config, &snapshot::hosts(&self.store).await?).await?;
        harm.extend(etcd_needs(host, &members));
        let stays = stays::on(&self.store, host).await?;
        harm.extend(
            stays
                .iter()
                .map(|(copy, why)| format!("copy {copy} cannot leave and is missed meanwhile: {why}")),
        );
        if harm.is_empty() {
            return Ok(BTreeSet::new());
        }
        let harm = harm.join("\n  ");
        if !self.args.force {
            return Err(Failure::new(format!(
                "{host} is left as it is:\n  {harm}\n  --force goes ahead all the same"
            )));
        }
        say!("all the same:\n  {harm}");
        Ok(stays.into_keys().collect())
    }

    async fn go(&self, boot: Option<String>, stays: &BTreeSet<InstanceId>) -> Result<(), Failure> {
        let (host, reboot) = (&self.host, &self.args.reboot);
        availability::set(&self.store, host, Availability::Drain).await?;
        self.stage.set(Some(Stage::Drains));
        say!("{host} is drained: its copies move");
        host::empty_but(&self.store, host, stays, self.args.timeout.0).await?;
        self.stage.set(Some(Stage::Reboots));
        let empty = match stays.len() {
            0 => format!("{host} is empty"),
            n => format!("{host} is empty but for {n} of its copies, which cannot leave"),
        };
        if *reboot {
            self.place.asks(REBOOT).await?;
            say!("{empty}, and reboots");
        } else {
            say!("{empty}: reboot it now, or switch it off, and on again when you are done");
        }
        self.back(boot).await?;
        self.stage.set(Some(Stage::Recovers));
        say!("{host} is back: looking at it");
        self.well().await?;
        availability::set(&self.store, host, Availability::Active).await?;
        say!("{host} is well, and takes copies");
        Ok(())
    }

    /// Waits until the host is there again, after another boot.
    async fn back(&self, before: Option<String>) -> Result<(), Failure> {
        let host = &self.host;
        poll(self.args.back_within.0, async || {
            // etcd may have to find another leader meanwhile: who does not answer is asked again.
            let alive = snapshot::get::<Alive>(&self.store, &Key::Alive(host.clone())).await.ok().flatten();
            let back = alive.is_some_and(|found| Some(found.value.boot_id) != before);
            Ok(Step::once(back, || {
                Failure::timed_out(format!("{host} has not come back from a reboot in time"))
            }))
        })
        .await
    }

    /// Waits until nothing hurts there any more.
    async fn well(&self) -> Result<(), Failure> {
        let mut hurts = Vec::new();
        let well = poll_every(LOOK_AGAIN, WELL_WITHIN, async || {
            hurts = self.hurts().await;
            Ok(Step::once(hurts.is_empty(), || Failure::not_converged(format!("{} is not well", self.host))))
        });
        let well = well.await;
        if well.is_err() {
            doctor::print(&hurts, false);
        }
        well
    }

    /// What is wrong with the host, on it and in the cluster.
    async fn hurts(&self) -> Vec<Finding> {
        let host = &self.host;
        let cluster = Some(checkup::cluster(self.settings, self.book.as_ref()).await);
        let machines = [(host.clone(), doctor::look(self.place.clone()).await)].into();
        let mut findings = judge(&Found { cluster, machines });
        // What else is wrong in the cluster is no reason to keep this host out; but without etcd nothing is known.
        let concerns = |it: &Finding| it.host.as_ref() == Some(host) || it.check == "etcd";
        findings.retain(|it| it.severity == Severity::Hurts && concerns(it));
        findings
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_doctor::facts::Answer;

    use super::*;

    #[test]
    fn a_member_may_go_while_most_of_the_others_answer() {
        let h = |n: usize| format!("h{n}").parse::<HostName>().unwrap();
        // Members h1…: whether each answers; then the host that is to go, and whether it may not.
        for (answers, host, needed) in [
            (vec![true], 1, true),
            (vec![true], 2, false),
            (vec![true, true], 1, true),
            (vec![true, true, true], 1, false),
            (vec![true, true, false], 1, true),
            // It is away already: nothing changes.
            (vec![true, true, false], 3, false),
            (vec![true, true, true, true, false], 1, false),
            (vec![true, true, true, false, false], 1, true),
        ] {
            let member = |(n, answers): (usize, &bool)| {
                let answer = if *answers { Ok(Answer::default()) } else { Err("gone".to_owned()) };
                (format!("m{n}"), Member { host: Some(h(n + 1)), learns: false, answer: Some(answer) })
            };
            let mut members: BTreeMap<_, _> = answers.iter().enumerate().map(member).collect();
            assert_eq!(etcd_needs(&h(host), &members).is_some(), needed, "{answers:?} without h{host}");
            // Who does not vote counts for nothing.
            let learner = Member { host: Some(h(9)), learns: true, answer: Some(Ok(Answer::default())) };
            members.insert("learner".to_owned(), learner);
            assert_eq!(etcd_needs(&h(host), &members).is_some(), needed, "{answers:?} and a learner");
            assert_eq!(etcd_needs(&h(9), &members), None);
        }
    }

    #[test]
    fn whoever_ends_it_is_told_how_to_go_on() {
        let host = "h2".parse().unwrap();
        for (stage, next) in [
            (Stage::Drains, "`evenkeel host maintenance h2`"),
            (Stage::Reboots, "`evenkeel doctor h2`"),
            (Stage::Recovers, "`evenkeel doctor h2`"),
        ] {
            let said = go_on(&host, stage);
            assert!(said.contains(next) && said.contains("`evenkeel host undrain h2`"), "{said}");
        }
    }
}
