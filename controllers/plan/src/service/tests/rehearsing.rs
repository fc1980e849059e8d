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

/// A document that may replace another one of the same service. There is room for all: where services wait for what
/// others leave, it depends on who is quicker.
fn documents() -> impl Strategy<Value = Read> {
    let deploy = (0..5u32, 1..3u32, any::<bool>(), proptest::option::of(1..3u32), 0..2u64);
    (0..3u8, 0..3u8, deploy).prop_map(|(service, image, (replicas, parallelism, start_first, max, memory))| {
        let order = if start_first { "start-first" } else { "stop-first" };
        let max = max.map_or(String::new(), |max| format!(", placement: {{max_replicas_per_node: {max}}}"));
        let memory = 300 * memory;
        let spec = format!(
            "image: \"app:{image}\", deploy: {{replicas: {replicas}{max}, update_config: {{order: {order}, \
             parallelism: {parallelism}, monitor: 1s}}, resources: {{reservations: {{memory: {memory}M}}}}}}"
        );
        read(&format!("Service shop/s{service}"), &spec)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Plan against a copy, apply, compare: as many copies, as evenly spread. Which of two that are exchanged together comes to
    /// which host depends on who is quicker.
    #[test]
    fn what_a_rehearsal_says_is_what_then_happens(changes in proptest::collection::vec(documents(), 1..6)) {
        let mut lab = Lab::new(3);
        for document in changes {
            let mut said = everything(&lab.model.world);
            let (rehearsal, acts) = rehearse(&lab, std::slice::from_ref(&document));
            put(&mut lab, &document);
            lab.seconds(3600);
            prop_assert_eq!(spread(rehearsal.world()), spread(&lab.model.world));
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
