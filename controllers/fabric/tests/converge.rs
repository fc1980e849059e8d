//! Whatever a host looks like and whatever is wanted of it: a plan that was done leaves nothing to do.

#![allow(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::network::{Cidr, Ipam, NetworkSpec, Pool};
use evenkeel_fabric::{Fabric, FakeFabric};
use evenkeel_plan::network::host::{HostPlan, Inputs, View, Wanted, plan};
use evenkeel_plan::network::state::{Action, EngineNetwork, FabricAction, Jump, Published, Route};
use proptest::prelude::*;

/// Host h1 with an engine that is no more than its list of networks.
struct World {
    fabric: FakeFabric,
    engine: Vec<EngineNetwork>,
    published: BTreeSet<Published>,
}

impl World {
    fn plan(&self, inputs: &Inputs) -> HostPlan {
        plan(
            inputs,
            &View {
                host: &"h1".parse().unwrap(),
                etcd: &BTreeSet::new(),
                published: &self.published,
                fabric: &self.fabric.state(),
                engine: Some(&self.engine),
                may_remove: true,
            },
        )
    }

    async fn apply(&mut self, action: &Action) {
        match action {
            Action::Fabric(action) => self.fabric.apply(action).await.unwrap(),
            Action::MakeNetwork(make) => {
                assert!(
                    self.engine
                        .iter()
                        .all(|n| n.name != make.name && Some(&make.bridge) != n.bridge.as_ref())
                );
                self.engine.push(EngineNetwork {
                    name: make.name.clone(),
                    labels: make.labels.clone(),
                    subnets: vec![(make.pool, Some(make.gateway))],
                    bridge: Some(make.bridge.clone()),
                });
                self.fabric.add_link(&make.bridge, true, make.gateway, make.pool.prefix());
            }
            Action::RemoveNetwork { name } => {
                let n = self.engine.iter().position(|n| n.name == *name).unwrap();
                self.fabric.remove_link(self.engine.remove(n).bridge.as_deref().unwrap());
            }
        }
    }

    /// As the driver does: plan, do, look again.
    async fn settle(&mut self, inputs: &Inputs) -> HostPlan {
        for _ in 0..3 {
            let plan = self.plan(inputs);
            if plan.steps.is_empty() {
                return plan;
            }
            for step in &plan.steps {
                self.apply(&step.action).await;
            }
        }
        panic!("still to do: {:#?}", self.plan(inputs).steps);
    }
}

#[derive(Debug, Clone)]
enum Turn {
    Network { n: u8, access: bool },
    Deleting { n: u8 },
    Forget { n: u8 },
    Part { n: u8, host: u8, part: u8 },
    NoPart { n: u8, host: u8 },
    Publish { port: u16 },
    Flush,
    Bend,
    Reboot,
    Foreign { n: u8, comes: bool },
}

fn turn() -> impl Strategy<Value = Turn> {
    let n = 0..3u8;
    prop_oneof![
        3 => (n.clone(), any::<bool>()).prop_map(|(n, access)| Turn::Network { n, access }),
        1 => n.clone().prop_map(|n| Turn::Deleting { n }),
        1 => n.clone().prop_map(|n| Turn::Forget { n }),
        5 => (n.clone(), 1..4u8, 1..6u8).prop_map(|(n, host, part)| Turn::Part { n, host, part }),
        1 => (n.clone(), 1..4u8).prop_map(|(n, host)| Turn::NoPart { n, host }),
        1 => (80..84u16).prop_map(|port| Turn::Publish { port }),
        1 => Just(Turn::Flush),
        1 => Just(Turn::Bend),
        1 => Just(Turn::Reboot),
        1 => (n, any::<bool>()).prop_map(|(n, comes)| Turn::Foreign { n, comes }),
    ]
}

fn network(n: u8) -> NetworkName {
    format!("net{n}").parse().unwrap()
}

fn host(n: u8) -> HostName {
    format!("h{n}").parse().unwrap()
}

fn wanted(n: u8, access: bool) -> Wanted {
    let subnet: Cidr = format!("10.{}.0.0/16", 80 + n).parse().unwrap();
    let access = access.then(|| evenkeel_api::network::Access { from: vec!["10.0.0.5".parse().unwrap()] });
    let ipam = Ipam { config: vec![Pool { subnet }], host_prefix_length: None };
    Wanted { spec: NetworkSpec { ipam, routing: None, dns: None, access }, deleting: false }
}

fn take(turn: &Turn, inputs: &mut Inputs, world: &mut World) {
    match turn {
        Turn::Network { n, access } => drop(inputs.networks.insert(network(*n), wanted(*n, *access))),
        Turn::Deleting { n } => {
            if let Some(wanted) = inputs.networks.get_mut(&network(*n)) {
                wanted.deleting = true;
            }
        }
        Turn::Forget { n } => {
            inputs.networks.remove(&network(*n));
            inputs.subnets.remove(&network(*n));
        }
        Turn::Part { n, host: h, part } => {
            let part: Cidr = format!("10.{}.{part}.0/24", 80 + n).parse().unwrap();
            let parts: &mut BTreeMap<_, _> = inputs.subnets.entry(network(*n)).or_default();
            parts.retain(|_, other| *other != part);
            parts.insert(host(*h), part);
        }
        Turn::NoPart { n, host: h } => {
            inputs.subnets.entry(network(*n)).or_default().remove(&host(*h));
        }
        Turn::Publish { port } => {
            let address = Ipv4Addr::UNSPECIFIED;
            world.published.insert(Published { address, protocol: Default::default(), port: *port });
        }
        Turn::Flush => world.fabric.flush(),
        Turn::Bend => world.fabric.edit(|state| {
            state.engine.jump = Jump::Missing;
            state.engine.raw.first = false;
            if let Some(table) = &mut state.table {
                table.intact = false;
            }
        }),
        Turn::Reboot => reboot(world),
        Turn::Foreign { n, comes } => {
            let link = format!("tun{n}");
            world.fabric.remove_link(&link);
            if *comes {
                world.fabric.add_link(&link, false, [10, 80 + n, 200, 7].into(), 24);
            }
        }
    }
}

fn reboot(world: &mut World) {
    world.fabric.flush();
    for network in &world.engine {
        let (bridge, (pool, gateway)) = (network.bridge.clone().unwrap(), network.subnets[0]);
        world.fabric.remove_link(&bridge);
        world.fabric.add_link(&bridge, true, gateway.unwrap(), pool.prefix());
    }
    world.fabric.edit(|state| state.engine.present = true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn apply_then_plan_again_is_empty(turns in prop::collection::vec(turn(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut inputs = Inputs { cluster: "c1".into(), ..Inputs::default() };
            inputs.hosts = (1..4).map(|n| (host(n), Ipv4Addr::new(10, 0, 0, 10 + n))).collect();
            let mut world = World { fabric: FakeFabric::new(), engine: Vec::new(), published: BTreeSet::new() };
            world.fabric.add_link("eth0", false, [10, 0, 0, 11].into(), 24);
            for turn in &turns {
                take(turn, &mut inputs, &mut world);
                let plan = world.settle(&inputs).await;
                let state = world.fabric.state();
                // Nothing stands without its rules, and nobody else's range is ever among ours.
                assert_eq!(state.table.is_some(), !world.engine.is_empty());
                for name in plan.local.networks.keys() {
                    assert!(inputs.networks.contains_key(name));
                }
            }
        });
    }
}

#[tokio::test]
async fn a_bridge_made_anew_under_its_name_has_its_new_address_and_no_old_routes() {
    use std::sync::{Arc, Mutex};
    let bridge = |octet: u8| vec![("ek-lan".to_owned(), Ipv4Addr::new(10, 88, octet, 1), 24)];
    let engine = Arc::new(Mutex::new(bridge(1)));
    let told = engine.clone();
    let fabric = FakeFabric::new().with_bridges(move || Some(told.lock().unwrap().clone()));
    let route = |octet: u8| {
        let (to, via) = (Cidr::new([10, 88, 9, 0].into(), 24), [10, 0, 0, 9].into());
        FabricAction::PutRoute(Route { to, via, src: [10, 88, octet, 1].into() })
    };
    fabric.apply(&route(1)).await.unwrap();
    *engine.lock().unwrap() = bridge(2);
    let seen = fabric.observe().await.unwrap();
    assert_eq!(seen.links["ek-lan"].addresses, [([10, 88, 2, 1].into(), 24)].into());
    assert!(seen.routes.is_empty(), "{:?}", seen.routes);
    fabric.apply(&route(2)).await.unwrap();
    assert!(fabric.apply(&route(1)).await.is_err());
}
