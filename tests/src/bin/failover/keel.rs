//! evenkeel's side.

use std::collections::BTreeSet;

use evenkeel_api::record::Leader;
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::{Lab, eventually};
use serde_json::Value;

use crate::round::{Round, Watch, load};
use crate::{COPIES, IMAGE, report};

const NETWORK: &str = "apiVersion: evenkeel/v1\nkind: Network\nspec:\n  ipam: {config: [{subnet: 10.88.0.0/16}]}\n  \
                       dns: {domain: internal, ttl: 1s}\n";

fn document() -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {IMAGE}\n  command: [sleep, \"1000000\"]\n  \
         init: true\n  networks: [lan]\n  deploy: {{replicas: {COPIES}, stop_delay: 0s}}\n"
    )
}

/// `rounds` losses of each kind of victim.
pub fn measure(lab: &Lab, rounds: usize) {
    lab.put("networks/lan", NETWORK);
    let mut number = 0;
    let mut all = |kind: &str, choose: &dyn Fn(&Lab) -> String| {
        let of_kind: Vec<Round> = (0..rounds)
            .map(|_| {
                number += 1;
                one(lab, &format!("web{number}"), choose)
            })
            .collect();
        report(kind, &of_kind);
    };
    all("leader", &|lab| {
        let leader = lab.leader("service");
        etcd_leads(lab, &|host| host != leader);
        leader
    });
    all("another", &|lab| {
        let leader = lab.leader("service");
        let victim = lab.hosts_but(&leader).remove(0);
        etcd_leads(lab, &|host| host != victim);
        victim
    });
    if lab.setting("MEMBERS") == "3" {
        all("etcd", &|lab| {
            let leader = lab.leader("service");
            etcd_leads(lab, &|host| host != leader);
            lab.etcd_leader()
        });
    }
    lab.delete_all(["networks/lan"]);
}

/// Lets etcd's lead go to a host that fits, where it has several members.
fn etcd_leads(lab: &Lab, fits: &dyn Fn(&str) -> bool) {
    if lab.setting("MEMBERS") != "3" {
        return;
    }
    eventually(30, "etcd is led from elsewhere", || {
        let leader = lab.etcd_leader();
        if fits(&leader) {
            return Ok(());
        }
        let target = ["h1", "h2", "h3"].into_iter().find(|host| fits(host)).ok_or("no host fits")?;
        let text = lab.etcdctl(&["member", "list", "-w", "json"]).result()?;
        let list: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let members = list["members"].as_array().into_iter().flatten();
        let id = members.filter(|member| member["name"] == target).find_map(|member| member["ID"].as_u64());
        let id = format!("{:x}", id.ok_or("no such member")?);
        let endpoint = format!("{}:2379", lab.address(&leader));
        let words = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &endpoint, "move-leader", &id];
        lab.exec("infra", &words).result()?;
        Err(format!("moved from {leader} to {target}"))
    });
}

/// A host that was lost three times within ten minutes gets new copies only where nothing else fits, as long as one
/// leads who saw that: so a process leads in each round that did not.
fn leads_anew(lab: &Lab) {
    let leader = || -> Result<Leader, String> {
        lab.try_store()?.record("leaders/service").ok_or_else(|| "nobody leads".to_owned())
    };
    let before = eventually(15, "a leader", leader);
    lab.run(&["controllers", before.host.as_str(), "restart"]);
    let hosts = lab.hosts().len();
    eventually(30, "another leader, and all hosts", || {
        let (now, alive) = (leader()?, lab.alive().len());
        if now != before && alive == hosts { Ok(()) } else { Err(format!("{now:?} leads {alive} hosts")) }
    });
}

/// A service of its own each time: copies do not go back to a host by themselves.
fn one(lab: &Lab, service: &str, choose: &dyn Fn(&Lab) -> String) -> Round {
    let name = format!("bench/{service}");
    leads_anew(lab);
    lab.put(&format!("services/{name}"), &document());
    lab.settled(&name, COPIES, 90);
    let victim = choose(lab);
    let only = [victim.clone()];
    let copies = lab.copies_on(&only, &name);
    assert!(!copies.is_empty(), "{victim} carries no copy of {name}");
    let watch = |host: String| {
        let server = lab.gateway("lan", &host);
        Load::on(lab, &load(), &host, &["names", &server, "20", &format!("{service}.bench.internal")])
    };
    let round = Watch {
        lab,
        victim: &victim,
        prefix: &format!("bench.{service}."),
        lost: copies.len(),
        gone: copies.iter().map(|(_, copy)| copy.address("lan")).collect::<BTreeSet<String>>(),
        names: lab.hosts_but(&victim).into_iter().map(watch).collect(),
    }
    .pull();
    lab.run(&["poweron", &victim]);
    lab.settled(&name, COPIES, 120);
    remove(lab, &name);
    round
}

fn remove(lab: &Lab, name: &str) {
    lab.delete_all([format!("services/{name}").as_str()]);
    eventually(90, "the copies are gone", || {
        let left = lab.copies(name).len();
        let known = lab.try_store()?.keys("accepted/services/").count();
        if left == 0 && known == 0 { Ok(()) } else { Err(format!("{left} left")) }
    });
}
