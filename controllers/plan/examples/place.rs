//! How many copies the planner places in a second, on one core. `hack/bench-plan` runs it.
//!
//! The cluster has 100 hosts (or as many as the first argument says). First placement alone, one copy after
//! the other; then whole plans, from the document to the records of every copy; then plans that find nothing
//! to do, as every wake of a calm cluster makes them.

use std::time::{Duration, Instant};

use evenkeel_api::host::HostSpec;
use evenkeel_api::meta::Metadata;
use evenkeel_api::name::{InstanceId, ServiceId, Slot};
use evenkeel_api::network::{Cidr, Ipam, NetworkSpec, Pool};
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::{Accepted, Alive, Facts};
use evenkeel_api::service::ServiceSpec;
use evenkeel_plan::service::{
    At, Document, Host, Ledger, Memory, Network, Parsed, Places, World, plan_service,
};

const SERVICES: u32 = 100;
const REPLICAS: u32 = 50;

type Any<T> = Result<T, Box<dyn std::error::Error>>;

fn world(hosts: u32) -> Any<World> {
    let mut world = World::default();
    let pools = vec![Pool { subnet: Cidr::new([10, 0, 0, 0].into(), 8) }];
    let ipam = Ipam { config: pools, host_prefix_length: None };
    let spec = NetworkSpec { ipam, routing: None, dns: None, access: None };
    world.networks.insert("default".parse()?, Network { spec, deleting: false });
    for n in 0..hosts {
        let [_, _, high, low] = n.to_be_bytes();
        let value = Accepted {
            source_revision: 1,
            create_revision: 1,
            template: None,
            deleting: false,
            metadata: Metadata {
                labels: [("rack".to_owned(), format!("r{}", n % 8))].into(),
                ..Metadata::default()
            },
            spec: HostSpec { address: [10, 200, high, low].into(), availability: None, reserved: None },
        };
        let facts = Facts {
            cpus: MilliCpus(32_000),
            memory: Bytes(256 << 30),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            ..Facts::default()
        };
        let mut host = Host {
            accepted: Some(At { value, mod_revision: 1, create_revision: 1 }),
            facts: Some(facts),
            alive: Some(Alive { boot_id: "boot".to_owned(), incarnation: 1 }),
            ..Host::default()
        };
        host.subnets.insert("default".parse()?, Cidr::new([10, high, low, 0].into(), 20));
        host.ready.insert("default".parse()?);
        world.hosts.insert(format!("h{n}").parse()?, host);
    }
    Ok(world)
}

fn spec() -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    spec.template.image = "registry.lan/shop/web:1".to_owned();
    spec.deploy.replicas = Some(REPLICAS);
    spec.deploy.reservations.memory = Some(Bytes(256 << 20));
    spec.deploy.reservations.cpus = Some(MilliCpus(100));
    spec.deploy.placement.spread = vec!["rack".to_owned()];
    spec
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's own time")]
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let before = Instant::now();
    let result = what();
    (result, before.elapsed())
}

fn say(what: &str, count: u32, time: Duration) {
    println!("{what}: {count} in {time:.1?}, {:.0} a second", f64::from(count) / time.as_secs_f64());
}

fn main() -> Any<()> {
    let hosts = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let mut world = world(hosts)?;
    let id: ServiceId = "shop/web".parse()?;
    let spec = spec();

    let ledger = Ledger::new();
    let many = 20_000.min(hosts * 300);
    let (placed, time) = timed(|| {
        let mut places = Places::new(&world, &ledger, &id, &spec, &spec.template, None);
        let mut placed = 0;
        for n in 1..=many {
            let Ok(host) = places.best() else { break };
            places.take(&InstanceId { service: id.clone(), slot: Slot::numbered(n), seq: 1 }, &host);
            placed += 1;
        }
        placed
    });
    say(&format!("placements on {hosts} hosts"), placed, time);

    let ids: Vec<ServiceId> =
        (0..SERVICES).map(|n| format!("shop/s{n}").parse()).collect::<Result<_, _>>()?;
    for (n, id) in ids.iter().enumerate() {
        let parsed = Ok(Parsed { metadata: Metadata::default(), spec: spec.clone() });
        let revision = 10 + i64::try_from(n)?;
        let document = Document { mod_revision: revision, create_revision: revision, parsed };
        world.services.entry(id.clone()).or_default().document = Some(document);
    }
    let (mut memory, mut ledger, mut revision) = (Memory::new(), Ledger::new(), 1000);
    memory.observe(&world, Duration::ZERO, true);
    for what in ["copies planned from their documents", "copies looked at in calm plans"] {
        let (copies, time) = timed(|| {
            for id in &ids {
                memory.observe_service(&world, id, Duration::ZERO);
                let plan = plan_service(&world, id, &memory, &mut ledger, Duration::ZERO);
                revision += 1;
                if !plan.is_empty() && world.commit(&plan.whole(), revision).is_err() {
                    return 0;
                }
            }
            world.services.values().map(|service| u32::try_from(service.copies.len()).unwrap_or(0)).sum()
        });
        say(what, copies, time);
    }
    Ok(())
}
