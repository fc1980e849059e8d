//! A copy that is killed or removed comes back, at its address, about as soon as raw Docker can do it.

use std::time::Duration;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::raw::{self, Recorder};
use evenkeel_tests::lab::{Lab, case, eventually, limit};

use crate::documents;

/// What evenkeel may add to the bare calls, in milliseconds; twice and more what it should, since
/// the machine that tests run on has other work.
const SLACK: f64 = 500.0;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_killed_or_removed_copy_is_back_at_once_at_its_address() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/idle", &documents::idle("replicas: 6"));
        lab.settled("shop/idle", 6, 60);
        let copies = lab.copies("shop/idle");
        // One copy of each host is killed and the other removed: each for the first time, so that none of
        // them waits for the restart policy.
        let (mut killed, mut removed) = (Vec::new(), Vec::new());
        for host in lab.hosts() {
            let here: Vec<&Container> =
                copies.iter().filter(|(on, _)| *on == host).map(|(_, copy)| copy).collect();
            assert_eq!(here.len(), 2, "copies on {host}");
            let rival = Rival::new(lab, &host, here[0]);
            killed.push((rival.outage(raw::kill), outage(lab, &host, here[0], raw::kill)));
            removed.push((rival.outage(raw::remove), outage(lab, &host, here[1], raw::remove)));
            back_as_before(lab, &host, here[0]);
            back_as_before(lab, &host, here[1]);
            rival.end();
        }
        compare("docker kill → running", &killed);
        compare("docker rm -f → running", &removed);
        lab.settled("shop/idle", 6, 20);
        assert_eq!(names(&copies), names(&lab.copies("shop/idle")), "the copies are not the same ones");
    });
}

fn names(copies: &[(String, Container)]) -> std::collections::BTreeSet<String> {
    copies.iter().map(|(_, copy)| copy.name.clone()).collect()
}

fn compare(what: &str, pairs: &[(f64, f64)]) {
    let (bare, ours): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (bare, ours) = (raw::median(&bare), raw::median(&ours));
    println!("-> {what}: raw {bare:.0} ms, evenkeel {ours:.0} ms ({:+.0} ms); all: {pairs:.0?}", ours - bare);
    assert!(ours - bare <= limit(SLACK), "{what}: {:.0} ms slower than raw Docker", ours - bare);
}

fn outage(lab: &Lab, host: &str, copy: &Container, end: fn(&raw::Engine, &str) -> Result<(), String>) -> f64 {
    let engine = lab.engine(host);
    let recorder = Recorder::start(&engine).unwrap_or_else(|error| panic!("{error}"));
    end(&engine, &copy.name).unwrap_or_else(|error| panic!("{error}"));
    recorder.outage(&copy.name, PATIENCE).unwrap_or_else(|| panic!("{} does not come back", copy.name))
}

fn back_as_before(lab: &Lab, host: &str, before: &Container) {
    let address = before.address("lan");
    let now = eventually(10, &format!("{} runs", before.name), || {
        let copy = lab.engine(host).container(&before.name)?;
        if copy.running { Ok(copy) } else { Err("it does not".to_owned()) }
    });
    assert_eq!(now.address("lan"), address, "{} came back elsewhere", before.name);
}

/// A container just like a copy, kept by bare calls.
struct Rival {
    engine: raw::Engine,
    name: String,
    _keeper: raw::Keeper,
}

impl Rival {
    fn new(lab: &Lab, host: &str, copy: &Container) -> Self {
        let engine = lab.engine(host);
        let gateway = lab.gateway("lan", host);
        let (part, _) = gateway.rsplit_once('.').unwrap_or_default();
        let address = format!("{part}.200");
        let body = raw::like(copy, "lan", &address);
        let name = "e2e-rival".to_owned();
        let keeper = raw::run(&engine, &name, &body)
            .and_then(|()| raw::keep(engine.clone(), name.clone(), body))
            .unwrap_or_else(|error| panic!("{error}"));
        Self { engine, name, _keeper: keeper }
    }

    fn end(self) {
        let Self { engine, name, _keeper: keeper } = self;
        drop(keeper);
        raw::remove(&engine, &name).unwrap_or_else(|error| panic!("{error}"));
    }

    fn outage(&self, end: fn(&raw::Engine, &str) -> Result<(), String>) -> f64 {
        let recorder = Recorder::start(&self.engine).unwrap_or_else(|error| panic!("{error}"));
        end(&self.engine, &self.name).unwrap_or_else(|error| panic!("{error}"));
        recorder
            .outage(&self.name, PATIENCE)
            .unwrap_or_else(|| panic!("the raw container does not come back"))
    }
}
