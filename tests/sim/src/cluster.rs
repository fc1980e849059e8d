//! A cluster: hosts, the store, and the people who put documents into it.

mod acts;
mod past;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::tick::Tick;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::documents::{NETWORK, Service};
use crate::host::Host;
use crate::judge::Judge;
use crate::timeline::Timeline;
use crate::wire::Members;

use past::Past;

/// How long after trouble a host is calm again: retries wait up to 5 s, leaders change within 5 s.
const CALM: Duration = Duration::from_secs(10);

/// What a person puts (`None`: removes) in one transaction.
type Wish = Vec<(Key, Option<Vec<u8>>)>;

/// See the module.
pub struct Cluster {
    /// The store, as whoever looks on sees it.
    pub store: MemoryStore,
    /// Its hosts.
    pub hosts: Vec<Arc<Host>>,
    /// What people want now, by name.
    pub wanted: BTreeMap<String, Service>,
    /// The names of services of whose slots there must never be two copies.
    pub exclusive: BTreeSet<String>,
    /// Names of containers that are people's own.
    pub foreign: BTreeSet<(u8, String)>,
    /// What must hold.
    pub judge: Arc<Judge>,
    /// What happened.
    pub timeline: Timeline,
    /// Told of whatever happens to a container.
    pub moved: Arc<Tick>,
    members: Arc<Members>,
    past: Past,
    chance: Chance,
    /// Nothing breaks any more.
    mended: bool,
    deleted: BTreeSet<ObjectRef>,
    /// When something was last wrong with a host; 0: with all.
    trouble: BTreeMap<u8, Duration>,
    /// With whom something is wrong now.
    under_way: Vec<u8>,
    /// What people have not got into the store yet.
    wishes: Vec<Wish>,
    _tasks: JoinSet<()>,
}

impl Cluster {
    /// A cluster whose hosts have just been switched on. Within a tokio runtime.
    pub fn new(seed: u64, hosts: u8, timeline: Timeline) -> Self {
        let store = MemoryStore::new(seed);
        let judge = Arc::new(Judge::new(timeline.clone()));
        let (members, moved) = (Arc::new(Members::default()), Arc::new(Tick::default()));
        // Where etcd would be: the first three may lead.
        let host = |number| {
            let host = Host::new(number, seed, number <= 3, members.clone(), judge.clone(), timeline.clone());
            let moved = moved.clone();
            host.engine.on_change(move || moved.tell());
            host
        };
        let hosts: Vec<_> = (1..=hosts).map(|number| Arc::new(host(number))).collect();
        let mut tasks = JoinSet::new();
        for host in &hosts {
            tasks.spawn(host.clone().run(store.clone()));
        }
        let network = "networks/lan".parse().map(|key| vec![(key, Some(NETWORK.into()))]);
        Self {
            store,
            hosts,
            wanted: BTreeMap::new(),
            exclusive: BTreeSet::new(),
            foreign: BTreeSet::new(),
            judge,
            timeline,
            moved,
            members,
            past: Past::default(),
            chance: Chance::new(seed, "people"),
            mended: false,
            deleted: BTreeSet::new(),
            trouble: BTreeMap::new(),
            under_way: Vec::new(),
            wishes: network.into_iter().collect(),
            _tasks: tasks,
        }
    }

    /// A host by its number.
    pub fn host(&self, number: u8) -> &Arc<Host> {
        &self.hosts[usize::from(number).saturating_sub(1).min(self.hosts.len() - 1)]
    }

    /// Whether nothing has been wrong with a host, the store, or the way between them for a while.
    pub fn is_calm(&self, number: u8) -> bool {
        let last = self.trouble.get(&number).into_iter().chain(self.trouble.get(&0)).max();
        let since = last.copied().unwrap_or_default();
        !self.host(number).wire.is_misled()
            && self.under_way.iter().all(|host| *host != number && *host != 0)
            && self.host(number).running_since().is_some_and(|began| self.timeline.now() > began + CALM)
            && self.timeline.now() > since + CALM
    }

    /// Something is wrong with a host (0: with all), from now on if it lasts.
    fn troubles(&mut self, host: u8, lasts: bool) {
        self.trouble.insert(host, self.timeline.now());
        if lasts {
            self.under_way.push(host);
        }
    }

    /// What was wrong with it is over.
    fn is_over(&mut self, host: u8) {
        self.trouble.insert(host, self.timeline.now());
        if let Some(at) = self.under_way.iter().position(|one| *one == host) {
            self.under_way.remove(at);
        }
    }
}
