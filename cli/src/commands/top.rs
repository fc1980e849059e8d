//! `evenkeel top`: what copies use.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, Namespace, ServiceId};
use evenkeel_api::record::{Alive, Instance};
use evenkeel_api::session::{Action, Usage};
use evenkeel_sessions::Frame;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{Format, complain, say, structured, table};
use crate::sessions::Desk;
use crate::{snapshot, words};

/// Of which, and how often.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel top                 all copies; on a terminal again and again, until Ctrl-C
  evenkeel top shop/web        those of one service
  evenkeel top --once -o json

CPU is in percent of one; memory is what a copy could not give back, beside the most that it may use.")]
pub struct Top {
    /// SERVICE or NAMESPACE/SERVICE
    service: Option<String>,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Once, also on a terminal
    #[arg(long)]
    once: bool,
}

/// Between two tries to ask a host; the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// What a host told.
#[derive(Debug)]
enum Told {
    Round(HostName, Vec<Usage>),
    Trouble(HostName, String),
}

/// One row, for programs.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    usage: &'a Usage,
    host: &'a HostName,
}

impl Top {
    /// Prints it.
    ///
    /// # Errors
    /// There is no such service, etcd does not answer, or no host does.
    pub async fn run(&self, settings: &Settings, format: Format) -> Result<(), Failure> {
        let desk = Desk::new(settings)?;
        let service = self.service()?;
        let hosts = hosts(&desk, service.as_ref()).await?;
        let follow = !self.once && format == Format::Table && std::io::stdout().is_terminal();
        let (tell, mut told) = mpsc::channel(16);
        let mut asking = JoinSet::new();
        for host in &hosts {
            let action = Action::Usage { service: service.clone(), follow };
            asking.spawn(ask(desk.clone(), host.clone(), action, follow, tell.clone()));
        }
        drop(tell);
        let (mut rounds, mut troubles) = (BTreeMap::new(), BTreeMap::new());
        let mut told_once = false;
        while let Some(one) = told.recv().await {
            match one {
                Told::Round(host, used) => {
                    told_once = true;
                    troubles.remove(&host);
                    rounds.insert(host, used);
                }
                Told::Trouble(host, why) => {
                    rounds.remove(&host);
                    troubles.insert(host, why);
                }
            }
            // Nobody has told anything yet, and nobody does: that is no picture to look at.
            if !told_once && troubles.len() == hosts.len() {
                break;
            }
            // The first picture is whole; then each host brings its own news.
            if follow && rounds.len() + troubles.len() == hosts.len() {
                draw(&rounds, &troubles)?;
            }
        }
        if !follow || !told_once {
            troubles.values().for_each(|why| complain!("{why}"));
        }
        if !follow {
            print(&rounds, format)?;
        }
        if !hosts.is_empty() && rounds.is_empty() {
            return Err(Failure { code: 1, message: String::new() });
        }
        Ok(())
    }

    fn service(&self) -> Result<Option<ServiceId>, Failure> {
        let Some(name) = &self.service else { return Ok(None) };
        match words::object(Kind::Service, name, self.namespace.as_ref())? {
            ObjectRef::Service(service) => Ok(Some(service)),
            other => Err(Failure::new(format!("{other} is no service"))),
        }
    }
}

/// The hosts that have copies to run, and are there.
async fn hosts(desk: &Desk, service: Option<&ServiceId>) -> Result<BTreeSet<HostName>, Failure> {
    let instances = snapshot::list::<Instance>(&desk.store, &prefix::instances()).await?;
    let alive = snapshot::list::<Alive>(&desk.store, &prefix::alive()).await?;
    let mut hosts = BTreeSet::new();
    for key in instances.into_keys() {
        if let Key::Instance(host, copy) = key
            && service.is_none_or(|service| copy.service == *service)
        {
            hosts.insert(host);
        }
    }
    let (there, gone): (BTreeSet<_>, BTreeSet<_>) =
        hosts.into_iter().partition(|host| alive.contains_key(&Key::Alive(host.clone())));
    for host in gone {
        complain!("host {host} is gone; its copies are left out");
    }
    Ok(there)
}

/// Asks a host; where the picture is to go on, again and again: its controllers may be exchanged, or begin anew.
async fn ask(desk: Desk, host: HostName, action: Action, again: bool, tell: mpsc::Sender<Told>) {
    let mut pause = PAUSES.0;
    loop {
        let mut told = false;
        if let Err(failure) = rounds(&desk, &host, action.clone(), &tell, &mut told).await {
            let _nobody = tell.send(Told::Trouble(host.clone(), failure.message)).await;
        }
        if !again || tell.is_closed() {
            return;
        }
        pause = if told { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        sleep(pause).await;
    }
}

/// What a host tells, until it tells no more; `told`: at least one round.
async fn rounds(
    desk: &Desk,
    host: &HostName,
    action: Action,
    tell: &mpsc::Sender<Told>,
    told: &mut bool,
) -> Result<(), Failure> {
    let mut link = desk.ask(host, action).await?.link;
    let mut round = Vec::new();
    loop {
        match link.receive().await.map_err(|broken| Failure::new(format!("host {host}: {broken}")))? {
            Frame::Answer(answer) => {
                let used: Vec<Usage> = serde_json::from_slice(&answer).map_err(Failure::new)?;
                if used.is_empty() {
                    let whole = Told::Round(host.clone(), std::mem::take(&mut round));
                    if tell.send(whole).await.is_err() {
                        return Ok(());
                    }
                    *told = true;
                }
                round.extend(used);
            }
            Frame::End(_) => return Ok(()),
            Frame::Refused(why) => return Err(Failure::new(format!("host {host}: {why}"))),
            _ => {}
        }
    }
}

type Rounds = BTreeMap<HostName, Vec<Usage>>;

/// The screen anew.
fn draw(rounds: &Rounds, troubles: &BTreeMap<HostName, String>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(b"\x1b[H\x1b[2J")?;
    out.flush()?;
    drop(out);
    print(rounds, Format::Table)?;
    troubles.values().for_each(|why| say!("{why}"));
    Ok(())
}

fn print(rounds: &Rounds, format: Format) -> Result<(), Failure> {
    let mut rows: Vec<Row<'_>> =
        rounds.iter().flat_map(|(host, used)| used.iter().map(move |usage| Row { usage, host })).collect();
    rows.sort_by(|a, b| order(&a.usage.copy).cmp(&order(&b.usage.copy)));
    if format != Format::Table {
        return structured(format, &rows);
    }
    let rows = rows.iter().map(|row| {
        let Usage { copy, cpu, memory, limit } = row.usage;
        let share = if *limit > 0 { *memory as f64 / *limit as f64 * 100.0 } else { 0.0 };
        vec![
            copy.to_string(),
            row.host.to_string(),
            format!("{cpu:.1}%"),
            mib(*memory),
            mib(*limit),
            format!("{share:.1}%"),
        ]
    });
    table(&["COPY", "HOST", "CPU", "MEMORY", "LIMIT", "OF IT"], rows.collect(), "no copy runs");
    Ok(())
}

fn order(copy: &InstanceId) -> (&ServiceId, Option<u32>, u64) {
    (&copy.service, copy.slot.number(), copy.seq)
}

/// Bytes, as short as can be read at a glance.
fn mib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 10_240.0 { format!("{:.1}G", mib / 1024.0) } else { format!("{mib:.1}M") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_api::session::Challenge;
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::{Store, TxnBuilder};
    use evenkeel_sessions::{Hello, Link};
    use tokio::net::TcpListener;

    use super::*;

    /// A host that tells one round a connection, and then breaks off.
    async fn breaks_off(listener: TcpListener, host: HostName) {
        loop {
            let mut link = Link::over(listener.accept().await.unwrap().0);
            link.send(Frame::Hello(Hello { host: host.clone(), challenge: Challenge(1) })).await.unwrap();
            let _asked = link.receive().await.unwrap();
            link.send(Frame::Accepted(None)).await.unwrap();
            link.send(Frame::Answer("[]".into())).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    }

    #[tokio::test]
    async fn a_host_whose_connection_broke_is_asked_again_where_the_picture_goes_on() {
        let host: HostName = "h1".parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(breaks_off(listener, host.clone()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let accepted = r#"{"source_revision": 1, "create_revision": 1, "metadata": {"name": "h1"}, "spec": {"address": "127.0.0.1"}}"#;
        let facts = serde_json::json!({
            "cpus": 1000, "memory": 1, "os": "linux", "arch": "amd64", "engine": "1", "addresses": [], "evenkeel": "1",
            "sessions": port,
        });
        for (key, value) in [("accepted/hosts/h1", accepted.to_owned()), ("facts/h1", facts.to_string())] {
            let put = TxnBuilder::new().put(&key.parse().unwrap(), value);
            store.commit(&put.build().unwrap()).await.unwrap();
        }
        let desk = Desk::of(store, "ann");
        let (tell, mut told) = mpsc::channel(16);
        let action = Action::Usage { service: None, follow: true };
        let asking = tokio::spawn(ask(desk.clone(), host.clone(), action.clone(), true, tell));
        for _ in 0..2 {
            assert!(matches!(told.recv().await, Some(Told::Round(..))));
            assert!(matches!(told.recv().await, Some(Told::Trouble(..))));
        }
        drop(told);
        asking.await.unwrap();
        // Once is once.
        let (tell, mut told) = mpsc::channel(16);
        ask(desk, host, action, false, tell).await;
        assert!(matches!(told.recv().await, Some(Told::Round(..))));
        assert!(matches!(told.recv().await, Some(Told::Trouble(..))));
        assert!(told.recv().await.is_none());
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (bytes, shown) in [(0, "0.0M"), (1_572_864, "1.5M"), (16 << 30, "16.0G")] {
            assert_eq!(mib(bytes), shown);
        }
    }
}
