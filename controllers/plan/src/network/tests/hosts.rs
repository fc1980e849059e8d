use std::collections::BTreeSet;

use evenkeel_api::name::HostName;

use super::admission::name;
use super::parts::spec;
use crate::network::firewall;
use crate::network::host::{HostPlan, Inputs, Verdict, View, Wanted, plan};
use crate::network::names::{bridge_name, engine_name};
use crate::network::state::*;

pub struct World {
    pub inputs: Inputs,
    pub fabric: FabricState,
    pub engine: Option<Vec<EngineNetwork>>,
    published: BTreeSet<Published>,
    pub may_remove: bool,
}

impl World {
    /// Host h1 of three, on 10.0.0.0/24, with one network `lan`.
    pub fn new() -> Self {
        let mut inputs = Inputs { cluster: "c1".into(), ..Inputs::default() };
        let wanted = Wanted { spec: spec(&["10.88.0.0/16"], 24), deleting: false };
        inputs.networks.insert(name("lan"), wanted);
        for n in 1..=3u8 {
            let host: HostName = format!("h{n}").parse().unwrap();
            inputs.hosts.insert(host.clone(), [10, 0, 0, 10 + n].into());
            let part = format!("10.88.{n}.0/24").parse().unwrap();
            inputs.subnets.entry(name("lan")).or_default().insert(host, part);
        }
        let mut fabric = FabricState::default();
        fabric.engine.present = true;
        fabric.links.insert(
            "eth0".into(),
            Link { addresses: [([10, 0, 0, 11].into(), 24)].into(), ..Link::default() },
        );
        fabric.foreign.push(ForeignRoute { to: "10.0.0.0/24".parse().unwrap(), link: "eth0".into() });
        fabric.foreign.push(ForeignRoute { to: "0.0.0.0/0".parse().unwrap(), link: "eth0".into() });
        let (engine, published) = (Some(Vec::new()), BTreeSet::new());
        World { inputs, fabric, engine, published, may_remove: true }
    }

    pub fn plan(&self) -> HostPlan {
        plan(
            &self.inputs,
            &View {
                host: &"h1".parse().unwrap(),
                etcd: &BTreeSet::new(),
                published: &self.published,
                fabric: &self.fabric,
                engine: self.engine.as_deref(),
                may_remove: self.may_remove,
            },
        )
    }

    /// Do what was planned, by hand.
    pub fn apply(&mut self, plan: &HostPlan) {
        for step in &plan.steps {
            match &step.action {
                Action::MakeNetwork(make) => self.make(make),
                Action::RemoveNetwork { name } => self.remove(name),
                Action::Fabric(action) => self.change(action),
            }
        }
    }

    fn make(&mut self, make: &Make) {
        self.engine.as_mut().unwrap().push(EngineNetwork {
            name: make.name.clone(),
            labels: make.labels.clone(),
            subnets: vec![(make.pool, Some(make.gateway))],
            bridge: Some(make.bridge.clone()),
        });
        let addresses = [(make.gateway, make.pool.prefix())].into();
        let link = Link { bridge: true, addresses, proxy_arp: false, proxy_delay: 800 };
        self.fabric.links.insert(make.bridge.clone(), link);
        self.fabric.foreign.push(ForeignRoute { to: make.pool, link: make.bridge.clone() });
    }

    fn remove(&mut self, name: &str) {
        let engine = self.engine.as_mut().unwrap();
        let gone = engine.iter().find(|n| n.name == name).unwrap().bridge.clone().unwrap();
        engine.retain(|n| n.name != name);
        self.fabric.links.remove(&gone);
        self.fabric.foreign.retain(|route| route.link != gone);
    }

    fn change(&mut self, action: &FabricAction) {
        let fabric = &mut self.fabric;
        match action {
            FabricAction::LoadTable { mark, .. } => {
                fabric.table = Some(Table { mark: mark.clone(), intact: true });
            }
            FabricAction::DropTable => fabric.table = None,
            FabricAction::Accept { chain, pairs } => {
                let found = Accepts { pairs: pairs.clone(), first: true };
                match chain {
                    Chain::Forward => fabric.engine.forward = found,
                    Chain::Raw => fabric.engine.raw = found,
                }
            }
            FabricAction::Jump => fabric.engine.jump = Jump::Fine,
            FabricAction::ProxyArp { bridge } => fabric.links.get_mut(bridge).unwrap().proxy_arp = true,
            FabricAction::ProxyDelay { bridge } => fabric.links.get_mut(bridge).unwrap().proxy_delay = 0,
            FabricAction::PutRoute(route) => {
                fabric.routes.insert(*route);
            }
            FabricAction::DropRoute(route) => {
                fabric.routes.remove(route);
            }
        }
    }

    pub fn settle(&mut self) -> HostPlan {
        let first = self.plan();
        self.apply(&first);
        let second = self.plan();
        assert_eq!(second.steps, [], "a plan that was done leaves nothing to do");
        second
    }

    pub fn shown(&self) -> Vec<String> {
        self.plan().steps.iter().map(|s| s.action.to_string()).collect()
    }
}

#[test]
fn rules_stand_before_the_bridge_and_routes_come_last() {
    let mut world = World::new();
    let shown = world.shown();
    assert!(shown[0].starts_with("load firewall table"), "{shown:?}");
    assert_eq!(
        shown[1..],
        [
            "set 1 accept rules in Forward",
            "set 1 accept rules in Raw",
            "make engine network ek-lan (10.88.1.1)",
            "proxy ARP on ek-lan",
            "no proxy delay on ek-lan",
            "put route 10.88.2.0/24 via 10.0.0.12 src 10.88.1.1",
            "put route 10.88.3.0/24 via 10.0.0.13 src 10.88.1.1",
        ]
    );
    let after = world.settle();
    assert_eq!(after.verdicts[&name("lan")], Verdict::Ready { part: "10.88.1.0/24".parse().unwrap() });
    let local = &after.local.networks[&name("lan")];
    assert_eq!((local.engine_name.as_str(), local.domain.as_str()), ("ek-lan", "internal"));
    assert!(after.boot.contains("insert rule ip raw PREROUTING ip saddr 10.88.0.0/16"));
}

#[test]
fn what_a_reboot_or_a_flush_took_is_put_back() {
    let mut world = World::new();
    world.settle();
    let link = world.fabric.links.get_mut("ek-lan").unwrap();
    (link.proxy_arp, link.proxy_delay) = (false, 800);
    world.fabric.routes.clear();
    world.fabric.table = None;
    world.fabric.engine = EngineRules::default();
    let plan = world.plan();
    assert!(plan.engine_firewall_lost);
    assert_eq!(plan.steps.len(), 7, "table, two chains, two settings, two routes: {:?}", world.shown());
    world.settle();
}

#[test]
fn foreign_edits_are_put_right() {
    let mut world = World::new();
    world.settle();
    world.fabric.table.as_mut().unwrap().intact = false;
    world.fabric.engine.raw.first = false;
    world.fabric.engine.jump = Jump::Missing;
    let shown = world.shown();
    assert!(shown[0].starts_with("load firewall table"));
    assert_eq!(shown[1..], ["set 1 accept rules in Raw", "let FORWARD lead to DOCKER-USER first"]);
    world.settle();
}

#[test]
fn a_conflict_touches_nothing_and_names_both_sides() {
    type Edit = fn(&mut World);
    let cases: [(&str, Edit); 7] = [
        ("Docker network other", |w| {
            let subnets = vec![("10.88.9.0/24".parse().unwrap(), None)];
            let other = EngineNetwork { name: "other".into(), subnets, ..EngineNetwork::default() };
            w.engine.as_mut().unwrap().push(other);
        }),
        ("was not made by evenkeel", |w| {
            w.engine
                .as_mut()
                .unwrap()
                .push(EngineNetwork { name: "ek-lan".into(), ..EngineNetwork::default() });
        }),
        ("another evenkeel cluster (c2)", |w| {
            let labels = [("evenkeel.cluster".to_owned(), "c2".to_owned())].into();
            let other = EngineNetwork { name: "ek-lan".into(), labels, ..EngineNetwork::default() };
            w.engine.as_mut().unwrap().push(other);
        }),
        ("route to 10.88.0.0/20 by tun0", |w| {
            w.fabric.foreign.push(ForeignRoute { to: "10.88.0.0/20".parse().unwrap(), link: "tun0".into() });
        }),
        ("own address 10.88.200.7/24 on eth1", |w| {
            let addresses = [([10, 88, 200, 7].into(), 24)].into();
            w.fabric.links.insert("eth1".into(), Link { addresses, ..Link::default() });
        }),
        ("device name ek-lan", |w| {
            w.fabric.links.insert("ek-lan".into(), Link::default());
        }),
        ("device name ek-lan", |w| {
            let addresses = [([10, 88, 9, 1].into(), 16)].into();
            w.fabric.links.insert("ek-lan".into(), Link { bridge: true, addresses, ..Link::default() });
        }),
    ];
    for (word, edit) in cases {
        let mut world = World::new();
        edit(&mut world);
        let plan = world.plan();
        assert_eq!(plan.steps, [], "{word}");
        let Verdict::Conflict { why } = &plan.verdicts[&name("lan")] else { panic!("{word}: {plan:?}") };
        let both = why.contains("pool 10.88.0.0/16") || why.contains("Network lan");
        assert!(why.contains(word) && both, "{why}");
        assert!(plan.local.networks.is_empty());
    }
}

#[test]
fn a_bridge_of_ours_that_the_engine_forgot_is_adopted() {
    let mut world = World::new();
    let addresses = [([10, 88, 1, 1].into(), 16)].into();
    world.fabric.links.insert("ek-lan".into(), Link { bridge: true, addresses, ..Link::default() });
    world.fabric.foreign.push(ForeignRoute { to: "10.88.0.0/16".parse().unwrap(), link: "ek-lan".into() });
    let after = world.settle();
    assert!(matches!(after.verdicts[&name("lan")], Verdict::Ready { .. }), "{after:?}");
}

#[test]
fn a_deleting_network_goes_and_its_rules_go_last() {
    let mut world = World::new();
    world.settle();
    world.inputs.networks.get_mut(&name("lan")).unwrap().deleting = true;
    let plan = world.plan();
    assert_eq!(plan.verdicts[&name("lan")], Verdict::Pending);
    assert_eq!(world.shown(), ["remove engine network ek-lan"]);
    world.apply(&plan);
    assert_eq!(
        world.shown(),
        [
            "remove route 10.88.2.0/24 via 10.0.0.12 src 10.88.1.1",
            "remove route 10.88.3.0/24 via 10.0.0.13 src 10.88.1.1",
            "set 0 accept rules in Forward",
            "set 0 accept rules in Raw",
            "remove firewall table",
        ]
    );
    let after = world.settle();
    assert_eq!(after.verdicts[&name("lan")], Verdict::Gone);
    assert!(world.fabric.table.is_none() && world.fabric.engine.forward.pairs.is_empty());
    assert_eq!(after.boot, "");
}

#[test]
fn what_was_deleted_while_the_host_was_off_goes_too_and_is_guarded_until_then() {
    let mut world = World::new();
    world.settle();
    world.inputs.networks.clear();
    world.inputs.subnets.clear();
    world.may_remove = false;
    assert_eq!(world.shown(), Vec::<String>::new(), "guarded by its labels, untouched");
    world.may_remove = true;
    let plan = world.plan();
    assert!(plan.steps[0].action.to_string().contains("remove engine network ek-lan"));
    world.apply(&plan);
    world.settle();
}

#[test]
fn without_the_engine_routes_and_rules_are_still_kept() {
    let mut world = World::new();
    world.settle();
    world.engine = None;
    world.fabric.routes.clear();
    world.fabric.table = None;
    let after = world.settle();
    assert!(matches!(after.verdicts[&name("lan")], Verdict::Ready { .. }));
    world.fabric.links.remove("ek-lan");
    world.fabric.routes.clear();
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert!(matches!(&plan.verdicts[&name("lan")], Verdict::Blocked { why } if why.contains("engine")));
}

#[test]
fn another_part_makes_the_engine_network_anew() {
    let mut world = World::new();
    world.settle();
    let part = "10.88.7.0/24".parse().unwrap();
    world.inputs.subnets.get_mut(&name("lan")).unwrap().insert("h1".parse().unwrap(), part);
    let plan = world.plan();
    let shown = world.shown();
    assert_eq!(shown[0], "remove engine network ek-lan");
    assert!(shown.contains(&"make engine network ek-lan (10.88.7.1)".to_owned()), "{shown:?}");
    world.apply(&plan);
    world.settle();
}

#[test]
fn long_names_get_a_device_name_that_fits() {
    assert_eq!(bridge_name(&name("twelve-chars")), "ek-twelve-chars");
    let long = bridge_name(&name("thirteen-char"));
    assert_eq!((long.len(), &long[..3]), (15, "ek-"));
    assert_ne!(long, bridge_name(&name("thirteen-cha2")));
    assert_eq!(engine_name(&name("thirteen-char")), "ek-thirteen-char");
}

#[test]
fn the_table_says_who_may_reach_whom() {
    let member = |bridge: &str, n: u8, from: &[&str]| firewall::Member {
        bridge: bridge.into(),
        pools: vec![format!("10.{n}.0.0/16").parse().unwrap()],
        part: format!("10.{n}.1.0/24").parse().unwrap(),
        from: from.iter().map(|f| f.parse().unwrap()).collect(),
    };
    let published =
        |address: [u8; 4], port| Published { address: address.into(), protocol: Default::default(), port };
    let rules = firewall::Rules {
        members: vec![member("ek-db", 89, &[]), member("ek-lan", 88, &["10.0.0.5", "10.0.0.0/28"])],
        guarded: [[10, 0, 0, 11].into(), [10, 0, 0, 12].into()].into(),
        published: [published([10, 0, 0, 11], 80), published([0, 0, 0, 0], 443)].into(),
    };
    let table = firewall::table(&rules);
    for line in [
        "set bridges { type ifname; elements = { \"ek-db\", \"ek-lan\" }; }",
        "set pools { type ipv4_addr; flags interval; elements = { 10.88.0.0/15 }; }",
        "set published { type ipv4_addr . inet_proto . inet_service; elements = { 10.0.0.11 . tcp . 80 }; }",
        "set published_all { type inet_proto . inet_service; elements = { tcp . 443 }; }",
        "iifname \"ek-lan\" ip saddr != 10.88.1.0/24 counter drop",
        "iifname \"ek-lan\" ip daddr != { 10.88.0.0/16 } ip daddr @pools counter drop",
        "oifname \"ek-lan\" ip saddr { 10.0.0.0/28 } accept",
        "oifname \"ek-db\" counter drop",
        "iifname @bridges jump from_pool",
        "udp dport 53 accept",
        "ip saddr @pools ip daddr != @pools oifname != @bridges masquerade",
    ] {
        assert!(table.text.contains(line), "{line}\n{}", table.text);
    }
    assert!(table.text.contains(&format!("chain {}", table.mark)));
    let pairs: Vec<String> =
        firewall::accepts(&rules).iter().map(|p| format!("{} {}", p.from, p.to)).collect();
    assert_eq!(pairs, ["10.0.0.0/28 10.88.0.0/16", "10.88.0.0/15 10.88.0.0/15"]);
    let fewer = firewall::Rules { published: BTreeSet::new(), ..rules };
    assert_ne!(firewall::table(&fewer).mark, table.mark);
}
