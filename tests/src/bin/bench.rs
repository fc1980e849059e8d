//! Raw Docker beside evenkeel on one lab: what is the price of a reconciler? `hack/bench` runs it on the
//! lab's machine `infra`, from where it reaches etcd and every engine's socket.
//!
//! Raw: bare calls to the engines, on the network, with the mounts and with as many labels as a copy has,
//! at the concurrency that turns out best. Both sides: from the moment before the first call (a document's
//! put) to the engine's own event of the last start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::record::Confirmed;
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::raw::{self, Engine, Recorder, median};
use evenkeel_tests::lab::{Lab, eventually, pause};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "bench-";

fn main() {
    let lab = Lab::of_environment();
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "keel" => Keel::new(&lab).measure(),
        "raw" => Raw::new(&lab).measure(),
        _ => panic!("bench keel|raw FILE"),
    }
}

/// Where the first part leaves what the second one needs: one copy of each host, and their parts.
fn shared(lab: &Lab) -> std::path::PathBuf {
    lab.file("bench.json")
}

fn document(replicas: u32) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: registry.lan:5000/busybox:1\n  \
         command: [sleep, \"1000000\"]\n  networks: [lan]\n  stop_signal: SIGKILL\n  \
         deploy: {{replicas: {replicas}, stop_delay: 0s}}\n"
    )
}

fn now_ns() -> i64 {
    SystemClock.now().0 * 1_000_000
}

/// Waits for the starts of `count` containers whose names fit; milliseconds from `begun` to the last.
fn started(recorders: &[Recorder], count: usize, begun: i64, fits: impl Fn(&str) -> bool + Copy) -> f64 {
    let mut seen = 0;
    let mut last = begun;
    let end = SystemClock.now().0 + PATIENCE.as_millis() as i64;
    while seen < count {
        assert!(SystemClock.now().0 < end, "only {seen} of {count} started");
        for recorder in recorders {
            while let Some((_, at)) = recorder.next("start", fits, Duration::from_millis(5)) {
                seen += 1;
                last = last.max(at);
            }
        }
    }
    (last - begun) as f64 / 1e6
}

fn recorders(lab: &Lab) -> Vec<Recorder> {
    let start =
        |host: String| Recorder::start(&lab.engine(&host)).unwrap_or_else(|error| panic!("{host}: {error}"));
    lab.hosts().into_iter().map(start).collect()
}

fn report(what: &str, all: &[f64]) {
    println!(
        "{what} {:.1} {}",
        median(all),
        all.iter().map(|ms| format!("{ms:.0}")).collect::<Vec<_>>().join(" ")
    );
}

/// evenkeel's side.
struct Keel<'a> {
    lab: &'a Lab,
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
}

impl<'a> Keel<'a> {
    fn new(lab: &'a Lab) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        let endpoints =
            std::env::var("EVENKEEL_ENDPOINTS").unwrap_or_else(|_| "http://10.0.0.2:2379".to_owned());
        let config = EtcdConfig::new(endpoints.split(',').map(str::to_owned).collect::<Vec<_>>());
        let store =
            runtime.block_on(async { EtcdStore::new(&config) }).unwrap_or_else(|error| panic!("{error}"));
        Self { lab, runtime, store: Arc::new(store) }
    }

    fn commit(&self, txn: TxnBuilder) {
        let txn = txn.build().unwrap_or_else(|error| panic!("{error}"));
        self.runtime.block_on(self.store.commit(&txn)).unwrap_or_else(|error| panic!("{error}"));
    }

    fn put(&self, key: &str, text: String) {
        self.commit(TxnBuilder::new().put(&key_of(key), text));
    }

    fn delete(&self, key: &str) {
        // Confirmed: one after the other in short time looks like a slip.
        let confirmed = Confirmed { by: "bench".to_owned(), what: key.to_owned(), ..Confirmed::default() };
        let confirmed = serde_json::to_vec(&confirmed).unwrap_or_else(|error| panic!("{error}"));
        self.commit(TxnBuilder::new().delete(&key_of(key)).put(&Key::Confirmed, confirmed));
    }

    fn copies(&self, service: &str) -> Vec<(String, Container)> {
        self.lab.copies(service)
    }

    fn gone(&self, service: &str) {
        let begins = service.replace('/', ".") + ".";
        eventually(120, "the copies are gone", || {
            let there = |host: &String| {
                self.lab
                    .engine(host)
                    .labelled("evenkeel.service")
                    .map_or(1, |all| all.iter().filter(|copy| copy.name.starts_with(&begins)).count())
            };
            let left: usize = self.lab.hosts().iter().map(there).sum();
            let records =
                self.runtime.block_on(self.store.list("instances/")).map_err(|error| error.to_string())?;
            let left = left + records.kvs.iter().filter(|kv| kv.key.contains(&format!("/{begins}"))).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
        });
        // What was written about their end.
        pause(Duration::from_secs(2));
    }

    fn measure(&self) {
        self.put("networks/lan", "apiVersion: evenkeel/v1\nkind: Network\nspec: {ipam: {config: [{subnet: 10.88.0.0/16}]}, dns: {ttl: 1s}}\n".to_owned());
        // The first container after an engine's start is slow, and images and networks are made here.
        self.round("bench/warm", 6);
        self.remember();
        self.delete("services/bench/warm");
        self.gone("bench/warm");
        for (what, count) in [("one", 1), ("thirty", 30)] {
            let mut all = Vec::new();
            for round in 0..ROUNDS {
                let service = format!("bench/{what}-{round}");
                all.push(self.round(&service, count));
                if what == "thirty" && round + 1 == ROUNDS {
                    self.kills(&service);
                }
                self.delete(&format!("services/{service}"));
                self.gone(&service);
            }
            report(what, &all);
        }
        self.delete("networks/lan");
    }

    fn round(&self, service: &str, count: u32) -> f64 {
        let recorders = recorders(self.lab);
        let begins = service.replace('/', ".") + ".";
        let begun = now_ns();
        self.put(&format!("services/{service}"), document(count));
        started(&recorders, count as usize, begun, |name| name.starts_with(&begins))
    }

    /// Each copy once, so that none waits for the restart policy.
    fn kills(&self, service: &str) {
        let copies = self.copies(service);
        let mut all = Vec::new();
        for (host, copy) in copies.iter().take(9) {
            let engine = self.lab.engine(host);
            all.push(outage(&engine, &copy.name));
            pause(Duration::from_millis(300));
        }
        report("kill", &all);
    }

    fn remember(&self) {
        let copies: BTreeMap<String, Value> =
            self.copies("bench/warm").into_iter().map(|(host, copy)| (host, copy.raw)).collect();
        let path = shared(self.lab);
        std::fs::write(&path, serde_json::to_vec(&copies).unwrap_or_default())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn key_of(text: &str) -> Key {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn outage(engine: &Engine, name: &str) -> f64 {
    let recorder = Recorder::start(engine).unwrap_or_else(|error| panic!("{error}"));
    raw::kill(engine, name).unwrap_or_else(|error| panic!("{error}"));
    recorder.outage(name, PATIENCE).unwrap_or_else(|| panic!("{name} does not come back"))
}

/// Docker's side; the controllers are stopped, the network stands.
struct Raw<'a> {
    lab: &'a Lab,
    models: BTreeMap<String, Value>,
    next: std::cell::Cell<u32>,
}

/// The files that a copy has mounted went with it; what stands for it mounts the like. Written by a container,
/// since the host's disk is not to be seen from here.
fn put_mounted_files(lab: &Lab, host: &str, model: &Value) {
    let mut script = String::from("set -e");
    for mount in model["Mounts"].as_array().into_iter().flatten() {
        let source = mount["Source"].as_str().unwrap_or_default();
        let Some(below) = source.strip_prefix("/var/lib/evenkeel/") else { continue };
        let _ = write!(script, "; mkdir -p $(dirname /e/{below}); echo nameserver 10.88.1.1 >/e/{below}");
    }
    let body = json!({
        "Image": "registry.lan:5000/busybox:1",
        "Cmd": ["sh", "-c", script],
        "HostConfig": {"Binds": ["/var/lib/evenkeel:/e"], "NetworkMode": "none"},
    });
    let (engine, name) = (lab.engine(host), format!("{NAME}files"));
    let written = raw::run(&engine, &name, &body)
        .and_then(|()| engine.request("POST", &format!("/containers/{name}/wait"), None))
        .unwrap_or_else(|error| panic!("{host}: {error}"));
    assert_eq!(written.1["StatusCode"], 0, "{host}: the files were not written: {}", written.1);
    raw::remove(&engine, &name).unwrap_or_else(|error| panic!("{host}: {error}"));
}

impl<'a> Raw<'a> {
    fn new(lab: &'a Lab) -> Self {
        let text =
            std::fs::read(shared(lab)).unwrap_or_else(|error| panic!("run `bench keel` first: {error}"));
        let models: BTreeMap<String, Value> =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}"));
        for (host, model) in &models {
            put_mounted_files(lab, host, model);
        }
        Self { lab, models, next: std::cell::Cell::new(100) }
    }

    fn measure(&self) {
        self.round(6, 1);
        self.sweep();
        let mut one = Vec::new();
        for _ in 0..ROUNDS {
            one.push(self.round(1, 1));
            self.sweep();
        }
        report("one", &one);
        // How many calls at once an engine does best with: one try each, then the best in earnest.
        let tries: Vec<(usize, f64)> = [1, 2, 3, 4, 10]
            .into_iter()
            .map(|at_once| {
                let ms = self.round(30, at_once);
                self.sweep();
                (at_once, ms)
            })
            .collect();
        let best = tries.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(at_once, _)| *at_once);
        let mut thirty: Vec<f64> =
            tries.iter().filter(|(at_once, _)| *at_once == best).map(|(_, ms)| *ms).collect();
        while thirty.len() < ROUNDS {
            thirty.push(self.round(30, best));
            if thirty.len() < ROUNDS {
                self.sweep();
            }
        }
        report("thirty", &thirty);
        println!("concurrency {best} {tries:?}");
        self.kills();
        self.sweep();
    }

    /// `count` containers over all hosts, `at_once` calls at a time on each; milliseconds to the last start.
    fn round(&self, count: usize, at_once: usize) -> f64 {
        let recorders = recorders(self.lab);
        let mut work: BTreeMap<&String, Vec<(String, Value)>> = BTreeMap::new();
        for (index, (host, raw)) in self.models.iter().cycle().take(count).enumerate() {
            let copy = Container {
                id: String::new(),
                name: String::new(),
                labels: serde_json::from_value(raw["Config"]["Labels"].clone()).unwrap_or_default(),
                running: true,
                raw: raw.clone(),
            };
            let body = raw::like(&copy, "lan", &self.address(&copy));
            work.entry(host).or_default().push((format!("{NAME}{index}-{}", self.next.get()), body));
        }
        let begun = now_ns();
        std::thread::scope(|scope| {
            for (host, list) in &work {
                let engine = self.lab.engine(host);
                let queue = Arc::new(std::sync::Mutex::new(list.iter()));
                for _ in 0..at_once {
                    let (engine, queue) = (engine.clone(), queue.clone());
                    scope.spawn(move || {
                        loop {
                            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                            let Some((name, body)) = next else { return };
                            raw::run(&engine, name, body).unwrap_or_else(|error| panic!("{error}"));
                        }
                    });
                }
            }
        });
        started(&recorders, count, begun, |name| name.starts_with(NAME))
    }

    /// Addresses of the host's own part, one after the other.
    fn address(&self, copy: &Container) -> String {
        let next = if self.next.get() >= 230 { 20 } else { self.next.get() + 1 };
        self.next.set(next);
        let model = copy.address("lan");
        let (part, _) = model.rsplit_once('.').unwrap_or(("", ""));
        format!("{part}.{next}")
    }

    fn ours(&self) -> Vec<(Engine, String)> {
        let mut all = Vec::new();
        for host in self.lab.hosts() {
            let engine = self.lab.engine(&host);
            let found = engine.labelled("e2e-like.service").unwrap_or_else(|error| panic!("{error}"));
            all.extend(found.into_iter().map(|container| (engine.clone(), container.name)));
        }
        all
    }

    fn kills(&self) {
        let mut all = Vec::new();
        for (engine, name) in self.ours().into_iter().take(9) {
            let _keeper = raw::keep(engine.clone(), name.clone(), Value::Null)
                .unwrap_or_else(|error| panic!("{error}"));
            all.push(outage(&engine, &name));
        }
        report("kill", &all);
    }

    fn sweep(&self) {
        for (engine, name) in self.ours() {
            raw::remove(&engine, &name).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
