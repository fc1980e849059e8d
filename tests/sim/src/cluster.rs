//! A cluster: hosts, the store, and the people who put documents into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::record::Confirmed;
use evenkeel_engine::EngineError;
use evenkeel_engine::fake::Op;
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::instance::container::{ContainerState, label};
use evenkeel_runtime::store::{Store, TxnBuilder};
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::documents::{NETWORK, Service, broken};
use crate::host::{Host, address};
use crate::judge::Judge;
use crate::scenario::Act;
use crate::timeline::Timeline;
use crate::wire::WireFaults;

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
        // Where etcd would be: the first three may lead.
        let host = |number| Host::new(number, seed, number <= 3, judge.clone(), timeline.clone());
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

    /// People try to get into the store what they want there.
    pub async fn people(&mut self) {
        let person = self.store.client(0);
        while let Some(wish) = self.wishes.first() {
            let txn = wish.iter().fold(TxnBuilder::new(), |txn, (key, value)| match value {
                Some(value) => txn.put(key, value.clone()),
                None => txn.delete(key),
            });
            let Ok(txn) = txn.build() else { break };
            match person.commit(&txn).await {
                Ok(done) => {
                    let keys: Vec<String> = wish.iter().map(|(key, _)| key.to_string()).collect();
                    self.timeline.say("user", &format!("{} {}", done.header.revision, keys.join(" ")));
                    self.wishes.remove(0);
                }
                Err(_) => break,
            }
        }
    }

    /// Whether people have got all that they want into the store.
    pub fn is_heard(&self) -> bool {
        self.wishes.is_empty()
    }

    fn apply(&mut self, service: &Service) {
        let check = service.checked.then(|| service.check_text().into_bytes());
        self.wishes
            .push(vec![(service.key(), Some(service.text().into_bytes())), (service.check_key(), check)]);
        self.wanted.insert(service.name.clone(), service.clone());
        if service.exclusive {
            self.exclusive.insert(service.name.clone());
        }
    }

    fn availability(&mut self, number: u8, availability: &str) {
        let name = self.host(number).name.clone();
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {{name: {name}}}\n\
             spec: {{address: {}, availability: {availability}}}\n",
            address(number)
        );
        let key = Key::Document(ObjectRef::Host(name));
        self.wishes.push(vec![(key, Some(text.into_bytes()))]);
    }

    /// An act begins, or is over at once.
    pub fn begin(&mut self, act: &Act) {
        self.timeline.say("act", &act.to_string());
        if let Some(host) = act.troubles() {
            self.trouble.insert(host, self.timeline.now());
            if act.lasts().is_some() {
                self.under_way.push(host);
            }
        }
        match act {
            Act::Apply(service) => self.apply(service),
            Act::Break(service, how) => {
                self.wishes.push(vec![(service.key(), Some(broken(service, *how).into_bytes()))]);
            }
            Act::Delete(service) => {
                self.wishes.push(vec![(service.key(), None), (service.check_key(), None)]);
                self.wanted.remove(&service.name);
                self.deleted.insert(ObjectRef::Service(service.id()));
            }
            Act::Drain(host, _) => self.availability(*host, "drain"),
            Act::Crash(host, points) => self.host(*host).fuse.store(*points, Ordering::Relaxed),
            Act::Stop(host, _) => self.host(*host).stopped.set(true),
            Act::CutOff(host, cut, _) => self.host(*host).wire.set(|faults| faults.cut = Some(*cut)),
            Act::BadWire(host, bad, _) => {
                self.host(*host).wire.set(|faults| *faults = WireFaults { cut: faults.cut, ..*bad });
            }
            Act::EngineHangs(host, _) => self.host(*host).engine.set_hung(true),
            Act::EngineAway(host, _) => self.host(*host).engine.set_away(true),
            Act::EngineMute(host, _) => self.host(*host).engine.lose_events(true),
            Act::EngineErrors(host, seed) => self.engine_errors(*host, *seed),
            Act::ContainerEnds(host, pick) => {
                if let Some(id) = self.pick(*host, *pick, true) {
                    self.host(*host).engine.crash(&id, 1, pick % 3 == 0);
                }
            }
            Act::PersonRemoves(host, pick) => {
                if let Some(id) = self.pick(*host, *pick, false) {
                    self.host(*host).engine.person_removes(&id);
                }
            }
            Act::Foreign(host, pick) => self.foreign(*host, *pick),
            Act::DiskFull(host, _) => self.host(*host).set_disk_full(true),
            Act::PowerLost(host, _) => self.host(*host).power_off(),
            Act::ClockJumps(host, ms) => self.host(*host).wall.set_off(*ms),
            Act::StoreDown(_) => self.store.set_down(true),
            Act::StoreFull(_) => self.store.set_full(true),
            Act::Compact => self.store.compact(self.store.revision()),
            Act::Elect => self.store.elect(),
            Act::LeasesDie => self.store.kill_all_leases(),
            Act::Garbage(pick) => self.garbage(*pick),
        }
    }

    /// An act that lasted is over.
    pub fn end(&mut self, act: &Act) {
        self.timeline.say("act", &format!("over: {act}"));
        if let Some(host) = act.troubles() {
            self.trouble.insert(host, self.timeline.now());
            if let Some(at) = self.under_way.iter().position(|one| *one == host) {
                self.under_way.remove(at);
            }
        }
        match act {
            Act::Drain(host, _) => self.availability(*host, "active"),
            Act::Stop(host, _) => self.host(*host).stopped.set(false),
            Act::CutOff(host, ..) => self.host(*host).wire.set(|faults| faults.cut = None),
            Act::BadWire(host, ..) => self
                .host(*host)
                .wire
                .set(|faults| *faults = WireFaults { cut: faults.cut, ..WireFaults::default() }),
            Act::EngineHangs(host, _) => self.host(*host).engine.set_hung(false),
            Act::EngineAway(host, _) => {
                let host = self.host(*host);
                host.engine.set_away(!*host.powered.borrow());
            }
            Act::EngineMute(host, _) => self.host(*host).engine.lose_events(false),
            Act::DiskFull(host, _) => self.host(*host).set_disk_full(false),
            Act::PowerLost(host, _) => {
                let host = self.host(*host);
                if !*host.powered.borrow() {
                    host.power_on();
                }
            }
            Act::StoreDown(_) => self.store.set_down(false),
            Act::StoreFull(_) => self.store.set_full(false),
            _ => {}
        }
    }

    /// All that is still broken is mended, and people want nothing but what is well.
    pub fn mend(&mut self) {
        self.timeline.say("act", "all is mended");
        self.under_way.clear();
        self.trouble.insert(0, self.timeline.now());
        self.store.set_down(false);
        self.store.set_full(false);
        for number in 1..=self.hosts.len() as u8 {
            let host = self.host(number).clone();
            host.fuse.store(0, Ordering::Relaxed);
            host.stopped.set(false);
            host.wire.set(|faults| *faults = WireFaults::default());
            host.engine.set_hung(false);
            host.engine.lose_events(false);
            host.engine.forget_failures();
            host.set_disk_full(false);
            if *host.powered.borrow() {
                host.engine.set_away(false);
            } else {
                host.power_on();
            }
            self.availability(number, "active");
        }
        for mut service in self.wanted.values().cloned().collect::<Vec<_>>() {
            service.image = crate::documents::Image::Good;
            service.version += 1;
            self.apply(&service);
        }
        // Whatever was deleted was meant.
        let objects = self.deleted.clone();
        let meant = Confirmed { by: "people".to_owned(), what: "all of it".to_owned(), objects };
        self.wishes.extend(serde_json::to_vec(&meant).ok().map(|meant| vec![(Key::Confirmed, Some(meant))]));
    }

    fn engine_errors(&self, host: u8, seed: u64) {
        let (engine, mut chance) = (&self.host(host).engine, Chance::new(seed, "errors"));
        for _ in 0..chance.between(1, 6) {
            let ops = [Op::Create, Op::Start, Op::Stop, Op::Remove, Op::Inspect, Op::Containers, Op::Pull];
            let Some(op) = chance.pick(&ops) else { continue };
            let error = match chance.below(3) {
                0 => EngineError::Refused("500 internal error".to_owned()),
                1 => EngineError::Timeout("the call".to_owned()),
                _ => EngineError::Conflict { who: "409".to_owned() },
            };
            if chance.permille(500) {
                engine.fail_next(*op, error);
            } else {
                engine.fail_after_next(*op, error);
            }
        }
    }

    /// Some container of ours on a host.
    fn pick(&self, host: u8, pick: u64, running: bool) -> Option<String> {
        let mut ids = Vec::new();
        self.host(host).engine.look(|container, _| {
            let ours = container.labels.contains_key(label::CLUSTER);
            if ours && (!running || container.state == ContainerState::Running) {
                ids.push(container.id.clone());
            }
        });
        Chance::new(pick, "pick").pick(&ids).cloned()
    }

    /// A container of a person's own: of any name, or of one that the next copy would have.
    fn foreign(&mut self, host: u8, pick: u64) {
        let mut chance = Chance::new(pick, "foreign");
        let name = format!("own-{}", chance.below(1000));
        if self.foreign.insert((host, name.clone())) {
            self.host(host).engine.add_foreign(&name, BTreeMap::new());
        }
    }

    /// Some record becomes unreadable.
    fn garbage(&mut self, pick: u64) {
        let mut chance = Chance::new(pick, "garbage");
        let kinds = [prefix::endpoints(), prefix::observed(), prefix::health(), prefix::facts()];
        let kvs = chance.pick(&kinds).map(|prefix| self.store.peek(prefix)).unwrap_or_default();
        let key = chance.pick(&kvs).and_then(|kv| kv.key.parse::<Key>().ok());
        let value = if chance.permille(500) { b"{\"is\":".to_vec() } else { b"\xff\xfe{}".to_vec() };
        self.wishes.extend(key.map(|key| vec![(key, Some(value))]));
    }
}
