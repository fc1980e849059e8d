//! `evenkeel logs`: what copies write, on whichever hosts they are.

mod show;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, Namespace};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::Timestamp;
use evenkeel_api::session::Since;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::show::Show;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::complain;
use crate::sessions::Desk;
use crate::sessions::console::Console;
use crate::sessions::lines::Lines;
use crate::sessions::merge::Merger;
use crate::sessions::reader::{Reader, Told};
use crate::sessions::target::Target;

/// Of what, and which lines.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel logs shop/web                     what all its copies wrote, by time
  evenkeel logs -f --tail 20 shop/web        and what they will write: through restarts, rollouts and lost hosts
  evenkeel logs --since 10m shop/web
  evenkeel logs shop.web.1.n 2>/dev/null     of one copy: its standard output alone

A host that does not answer is named on standard error, and the others are shown all the same. Without -f, exit code 3 says that a
copy's lines broke off.")]
pub struct Logs {
    /// SERVICE, NAMESPACE/SERVICE, or a copy as `evenkeel get copies` shows it
    #[arg(value_name = "SERVICE|COPY")]
    target: String,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// What is written from now on, too, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Nothing older than that: 10m, or a time like 2026-11-30T02:00:00Z
    #[arg(long, value_name = "AGO|TIME", value_parser = since)]
    since: Option<Since>,
    /// Of each copy, only so many lines of what there is
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
}

/// A line waits that long for older ones of other copies, where there is no end.
const PATIENCE: Duration = Duration::from_millis(300);
/// etcd is given that long.
const STORE_WITHIN: Duration = Duration::from_secs(10);

fn since(text: &str) -> Result<Since, String> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(Since::Ago(span));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Since::At(Timestamp(time.as_millisecond())))
        .map_err(|_| format!("{text:?} is neither a duration like 10m nor a time like 2026-11-30T02:00:00Z"))
}

impl Logs {
    /// Prints them.
    ///
    /// # Errors
    /// Nothing is called that, etcd does not answer, or no host does.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let target = Target::read(&self.target, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let mirror = Mirror::start(desk.store.clone(), vec![prefix::instances(), prefix::observed()]);
        if tokio::time::timeout(STORE_WITHIN, mirror.synced()).await.is_err() {
            desk.store.get(&Key::Cluster).await?;
            return Err(Failure::timed_out("etcd did not answer in time"));
        }
        let copies = of(&mirror, &target);
        if copies.is_empty() {
            self.none_yet(&target, &desk.store).await?;
        }
        let (tell, told) = mpsc::channel(64);
        let show = Show::new(&target, self.timestamps);
        let mut following =
            Following { logs: self, target, desk, mirror, tell: Some(tell), readers: JoinSet::new(), show };
        following.begin(copies, false);
        following.run(told).await
    }

    /// There is no copy: an error, or a word that one is waited for.
    async fn none_yet(&self, target: &Target, store: &Arc<dyn Store>) -> Result<(), Failure> {
        match target {
            Target::Service(service) if self.follow => {
                let object = ObjectRef::Service(service.clone());
                let (document, accepted) = (Key::Document(object.clone()), Key::Accepted(object));
                if store.get(&document).await?.0.is_none() && store.get(&accepted).await?.0.is_none() {
                    return Err(Failure::new(format!(
                        "there is no service {service}: see `evenkeel get services`"
                    )));
                }
                complain!(
                    "there is no copy of {service} yet; `evenkeel explain {service}` says why, and this waits"
                );
                Ok(())
            }
            // Of a copy's name none comes that is not there: names are not used again.
            _ => target.silently(store).await.map(drop),
        }
    }
}

fn of(mirror: &Mirror, target: &Target) -> BTreeMap<InstanceId, HostName> {
    let instances = mirror.list(&prefix::instances()).into_iter();
    let keys = instances.filter_map(|kv| kv.key.parse::<Key>().ok());
    keys.filter_map(|key| match key {
        Key::Instance(host, id) if target.means(&id) => Some((id, host)),
        _ => None,
    })
    .collect()
}

/// The readers of all copies, and what they tell.
struct Following<'a> {
    logs: &'a Logs,
    target: Target,
    desk: Desk,
    mirror: Mirror,
    /// Kept while copies may come.
    tell: Option<mpsc::Sender<Told>>,
    readers: JoinSet<()>,
    show: Show,
}

impl Following<'_> {
    /// Reads the copies that are not read yet; those that came later from their beginning.
    fn begin(&mut self, copies: BTreeMap<InstanceId, HostName>, later: bool) {
        let Some(tell) = &self.tell else { return };
        for (copy, host) in copies {
            let Some(number) = self.show.add(&copy, &host) else { continue };
            let reader = Reader {
                desk: self.desk.clone(),
                copy,
                host,
                number,
                since: self.logs.since.filter(|_| !later),
                tail: self.logs.tail.filter(|_| !later),
                follow: self.logs.follow.then(|| self.mirror.clone()),
                tell: tell.clone(),
                lines: Lines::default(),
                room: Reader::room(),
            };
            self.readers.spawn(reader.run());
        }
    }

    async fn run(&mut self, mut told: mpsc::Receiver<Told>) -> Result<(), Failure> {
        let (console, began) = (Console::new(), Instant::now());
        let mut changed = self.mirror.subscribe();
        let mut merger = Merger::new(self.logs.follow.then_some(PATIENCE));
        self.show.open_all(&mut merger);
        if !self.logs.follow {
            self.tell = None;
        }
        loop {
            let due =
                merger.due().map_or(Duration::from_secs(3600), |due| due.saturating_sub(began.elapsed()));
            tokio::select! {
                heard = told.recv() => match heard {
                    Some(heard) => self.show.hear(heard, &mut merger, began.elapsed()),
                    None => break,
                },
                _ = changed.next(), if self.logs.follow => {
                    let copies = of(&self.mirror, &self.target);
                    self.begin(copies, true);
                    self.show.open_all(&mut merger);
                }
                () = tokio::time::sleep(due) => {}
            }
            while let Some((out, line, _waits)) = merger.pop(began.elapsed()) {
                if !console.write(out, line).await {
                    return Ok(());
                }
            }
        }
        while let Some((out, line, _waits)) = merger.pop(Duration::MAX / 2) {
            if !console.write(out, line).await {
                break;
            }
        }
        console.finish();
        self.show.verdict(self.logs.follow)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::TxnBuilder;

    use super::*;

    #[test]
    fn since_is_an_age_or_a_time() {
        assert_eq!(since("10m"), Ok(Since::Ago("10m".parse().unwrap())));
        assert_eq!(since("1970-01-01T00:00:02Z"), Ok(Since::At(Timestamp(2000))));
        for wrong in ["yesterday", "", "2026-11-30"] {
            assert!(since(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_nobody_has_written_is_not_waited_for() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let logs = |follow, target: &str| Logs {
            target: target.to_owned(),
            namespace: None,
            follow,
            since: None,
            tail: None,
            timestamps: false,
        };
        let none_yet = async |follow, word: &str| {
            let target = Target::read(word, None).unwrap();
            logs(follow, word).none_yet(&target, &store).await.map_err(|failure| failure.message)
        };
        assert!(none_yet(true, "shop/wbe").await.unwrap_err().contains("there is no service shop/wbe"));
        for key in ["services/shop/web", "accepted/services/shop/old"] {
            let put = TxnBuilder::new().put(&key.parse().unwrap(), "{}");
            store.commit(&put.build().unwrap()).await.unwrap();
            let word = key.rsplit_once("services/").map_or("", |(_, word)| word);
            assert_eq!(none_yet(true, word).await, Ok(()), "{word}");
            assert!(none_yet(false, word).await.unwrap_err().contains("there is no copy"), "{word}");
        }
        assert!(none_yet(true, "shop.web.1.n").await.unwrap_err().contains("there is no copy"));
    }
}
