//! What is tried out on a copy of the cluster, and whether it is what then happens.

use std::fmt::Write as _;

use evenkeel_api::text::{Document as Read, DocumentSpec, Origin, parse_document};
use proptest::prelude::*;

use super::*;

fn read(object: &str, spec: &str) -> Read {
    let object: ObjectRef = object.parse().unwrap();
    let text = format!("apiVersion: evenkeel/v1\nkind: {}\nspec: {{{spec}}}\n", object.kind());
    parse_document(&text, &Origin::Key(object)).unwrap()
}

/// Puts a document into the cluster itself.
fn put(lab: &mut Lab, read: &Read) {
    let DocumentSpec::Service(spec) = &read.spec else { panic!("no service") };
    let ObjectRef::Service(id) = &read.object else { panic!("no service") };
    lab.put_parsed(&id.to_string(), Ok(Parsed { metadata: read.metadata.clone(), spec: (**spec).clone() }));
}

fn rehearse(lab: &Lab, documents: &[Read]) -> (Rehearsal, Vec<Act>) {
    let mut rehearsal = Rehearsal::new(lab.model.world.clone(), lab.model.revision);
    documents.iter().for_each(|document| rehearsal.put(document));
    let acts = rehearsal.run().unwrap();
    (rehearsal, acts)
}

/// A cluster at rest with those services.
fn lab(hosts: u32, services: &[(&str, &str)]) -> Lab {
    let mut lab = Lab::new(hosts);
    for (name, spec) in services {
        put(&mut lab, &read(&format!("Service shop/{name}"), spec));
    }
    lab.seconds(120);
    lab
}

#[track_caller]
fn losses(lab: &Lab) -> Vec<String> {
    let losses = rehearse(lab, &[]).0.losses().unwrap();
    let line = |(host, lacks): (HostName, Lacks)| {
        let mut line = host.to_string();
        lacks.iter().for_each(|(id, why)| write!(line, " {id}: {why}").unwrap());
        line
    };
    losses.into_iter().map(line).collect()
}

#[test]
fn what_fits_on_the_others_survives_any_one_host() {
    assert_eq!(losses(&lab(3, &[("web", "image: a, deploy: {replicas: 3}")])), Vec::<String>::new());
    // What is on every host is not wanted on one that is gone.
    assert_eq!(losses(&lab(2, &[("all", "image: a, deploy: {mode: global}")])), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_is_told_by_host_with_the_reason() {
    // Each host has 4 GiB, of which something is reserved: two copies fit.
    let large = "image: a, deploy: {replicas: 5, resources: {reservations: {memory: 1500M}}}";
    let lab = lab(3, &[("small", "image: a"), ("large", large)]);
    let told = losses(&lab);
    // One host has one of the five: without it, none of the others has room for it, and without them even less.
    assert_eq!(told.len(), 3, "{told:?}");
    for line in &told {
        assert!(line.contains("shop/large") && line.contains("memory"), "{line}");
        assert!(!line.contains("shop/small"), "{line}");
    }
}

#[test]
fn what_is_bound_to_a_host_is_told_of_that_host_alone() {
    let lab =
        lab(3, &[("db", "image: a, volumes: [\"data:/data\"]"), ("web", "image: a, deploy: {replicas: 2}")]);
    let home = lab.running("shop/db")[0].split_once('@').unwrap().1.to_owned();
    let told = losses(&lab);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(&format!("{home} shop/db:")), "{told:?}");
}

#[test]
fn what_is_lacking_anyway_is_no_loss() {
    let nowhere = "image: a, deploy: {placement: {constraints: [\"node.labels.disk == ssd\"]}}";
    assert_eq!(losses(&lab(3, &[("odd", nowhere)])), Vec::<String>::new());
}

#[test]
fn several_hosts_at_once_are_no_matter_for_a_brake() {
    let lab = lab(4, &[("web", "image: a, deploy: {replicas: 4}")]);
    let (mut rehearsal, acts) = rehearse(&lab, &[]);
    assert_eq!(acts, []);
    rehearsal.lose(&[host("h1"), host("h2")].into());
    let acts = rehearsal.run().unwrap();
    let started = acts.iter().filter(|act| act.verb == "start");
    let mut on: Vec<&str> = started.map(|act| act.host.as_str()).collect();
    on.sort_unstable();
    assert_eq!(on, ["h3", "h4"]);
    assert!(rehearsal.lacks().is_empty());
}

/// What a document asks for besides an image.
#[derive(Debug, Clone)]
struct Wish {
    replicas: u32,
    global: bool,
    update: (u32, bool),
    max: Option<u32>,
    /// In steps of which eight fill a host.
    memory: u64,
    port: bool,
    volume: bool,
    exclusive: bool,
    /// Of `PLACES`.
    place: usize,
}

const PLACES: [&str; 4] = [
    "",
    "constraints: [\"node.labels.disk == ssd\"]",
    "constraints: [\"node.hostname != h3\"]",
    "preferences: [{spread: node.labels.rack}]",
];

fn wishes() -> impl Strategy<Value = Wish> {
    let counts = (0..6u32, (1..3u32, any::<bool>()), proptest::option::of(1..3u32), 0..4u64, 0..PLACES.len());
    let rare = || prop::bool::weighted(0.2);
    (counts, rare(), rare(), rare(), rare()).prop_map(|(counts, global, port, volume, exclusive)| {
        let (replicas, update, max, memory, place) = counts;
        Wish { replicas, global, update, max, memory, port, volume, exclusive, place }
    })
}

impl Wish {
    fn spec(&self, image: u8) -> String {
        let (parallelism, start_first) = self.update;
        // On every host a slot is alone anyway; and what must be alone cannot be there before the other one has left.
        let exclusive = self.exclusive && !self.global;
        let start_first = start_first && !exclusive;
        let order = if start_first { "start-first" } else { "stop-first" };
        let mode =
            if self.global { "mode: global".to_owned() } else { format!("replicas: {}", self.replicas) };
        let max = self.max.map(|max| format!("max_replicas_per_node: {max}"));
        let placement: Vec<&str> = max.as_deref().into_iter().chain([PLACES[self.place]]).collect();
        let placement: Vec<&str> = placement.into_iter().filter(|text| !text.is_empty()).collect();
        let (placement, memory) = (placement.join(", "), 500 * self.memory);
        let port = if self.port { "ports: [\"8080:80\"], " } else { "" };
        let volume = if self.volume { "volumes: [\"data:/data\"], " } else { "" };
        format!(
            "image: \"app:{image}\", {port}{volume}deploy: {{{mode}, exclusive: {exclusive}, placement: {{{placement}}}, \
             update_config: {{order: {order}, parallelism: {parallelism}, monitor: 1s}}, \
             resources: {{reservations: {{memory: {memory}M}}}}}}"
        )
    }
}

/// A document that may replace another one of the same service.
fn documents() -> impl Strategy<Value = Read> {
    (0..3u8, 0..3u8, wishes())
        .prop_map(|(service, image, wish)| read(&format!("Service shop/s{service}"), &wish.spec(image)))
}

/// Three hosts, on which `PLACES` fit in different ways.
fn labelled() -> Lab {
    let mut lab = Lab::new(3);
    for (n, disk, rack) in [(1, "ssd", "a"), (2, "ssd", "b"), (3, "hdd", "b")] {
        lab.put_host(n, |_| {}, &[("disk", disk), ("rack", rack)]);
    }
    lab.settle();
    lab
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Plan against a copy, apply, compare: the same services lack something, and where none does, there are as many copies, as
    /// evenly spread. Which of two that are exchanged together comes to which host depends on who is quicker, and so does,
    /// where not all have room, how many get it.
    #[test]
    fn what_a_rehearsal_says_is_what_then_happens(changes in proptest::collection::vec(documents(), 1..6)) {
        let mut lab = labelled();
        for document in changes {
            let mut said = everything(&lab.model.world);
            let (rehearsal, acts) = rehearse(&lab, std::slice::from_ref(&document));
            put(&mut lab, &document);
            lab.seconds(3600);
            let lacking: Vec<ServiceId> = rehearsal.lacks().into_keys().collect();
            let lacks: Vec<ServiceId> = rehearse(&lab, &[]).0.lacks().into_keys().collect();
            prop_assert_eq!(&lacking, &lacks);
            if lacking.is_empty() {
                prop_assert_eq!(spread(rehearsal.world()), spread(&lab.model.world));
            }
            for act in acts {
                let copy = (act.host, act.copy);
                let news = if act.verb == "start" { said.insert(copy.clone()) } else { said.remove(&copy) };
                prop_assert!(news, "{} of {:?} is no news", act.verb, copy);
            }
            prop_assert_eq!(said, everything(rehearsal.world()));
        }
    }
}

/// The copies that shall run.
fn everything(world: &World) -> BTreeSet<(HostName, InstanceId)> {
    let copies = world.services.values().flat_map(|service| &service.copies);
    let running = copies
        .filter(|(_, copy)| copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run));
    running.map(|(id, copy)| (copy.host.clone(), id.clone())).collect()
}

/// How many copies of each service the hosts have, the fullest first.
fn spread(world: &World) -> BTreeMap<ServiceId, Vec<usize>> {
    let mut by_host: BTreeMap<ServiceId, BTreeMap<HostName, usize>> = BTreeMap::new();
    for (host, id) in everything(world) {
        *by_host.entry(id.service).or_default().entry(host).or_default() += 1;
    }
    let counts = |hosts: BTreeMap<HostName, usize>| {
        let mut counts: Vec<usize> = hosts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    };
    by_host.into_iter().map(|(id, hosts)| (id, counts(hosts))).collect()
}
