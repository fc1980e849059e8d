//! What a change of a Service means for its running copies: one table of fields, and nothing else decides.
//!
//! Two specs are compared as they were parsed, without defaults: so a new default in a new binary changes
//! nothing. The table takes the types apart without `..`, so that a field which is added to a spec does not
//! compile until it is decided here.

use std::collections::BTreeMap;
use std::fmt;

use crate::service::{Deploy, Limits, ServiceSpec, Template};

/// What a change means for running copies, with the names of the fields that changed, as people write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: what changed, if anything, is how many copies there are, where, or how they are exchanged.
    None(Vec<String>),
    /// They can be changed while they run.
    InPlace(Vec<String>),
    /// They must be exchanged for new ones.
    Template(Vec<String>),
}

impl Change {
    /// The names of the fields that changed, like `image` or `environment.CART`.
    pub fn fields(&self) -> &[String] {
        match self {
            Change::None(fields) | Change::InPlace(fields) | Change::Template(fields) => fields,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let means = match self {
            Change::None(_) => "no new copies",
            Change::InPlace(_) => "in place",
            Change::Template(_) => "new copies",
        };
        match self.fields() {
            [] => f.write_str("no change"),
            fields => write!(f, "{} ({means})", fields.join(", ")),
        }
    }
}

/// Compares two specs of one service.
pub fn change(old: &ServiceSpec, new: &ServiceSpec) -> Change {
    let ServiceSpec { template, limits, deploy, depends_on, endpoints_policy } = new;
    let mut exchange = Vec::new();
    let mut in_place = Vec::new();
    let mut none = Vec::new();
    of_template(&old.template, template, &mut exchange);
    of_limits(&old.limits, limits, &mut in_place, &mut exchange);
    of_deploy(&old.deploy, deploy, &mut none);
    entries("depends_on", &old.depends_on, depends_on, &mut none);
    if old.endpoints_policy != *endpoints_policy {
        none.push("endpoints_policy".to_owned());
    }
    match (exchange.is_empty(), in_place.is_empty()) {
        (false, _) => Change::Template([exchange, in_place, none].concat()),
        (true, false) => Change::InPlace([in_place, none].concat()),
        (true, true) => Change::None(none),
    }
}

/// The entries of a mapping that differ.
fn entries<K: Ord + fmt::Display, V: PartialEq>(
    name: &str,
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    changed: &mut Vec<String>,
) {
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let other = new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, _)| key);
    let mut keys: Vec<&K> = gone.chain(other).collect();
    keys.sort();
    changed.extend(keys.into_iter().map(|key| format!("{name}.{key}")));
}

/// Takes a struct apart and compares it: `values` whole, `maps` entry by entry.
macro_rules! compare {
    ($type:ident, $prefix:literal, $old:expr, $new:expr, $changed:expr;
     values: $($value:ident $(as $name:literal)?),*; maps: $($map:ident),* $(;)?) => {{
        let $type { $($value,)* $($map,)* } = $new;
        $(if $old.$value != *$value {
            let name = [$($name,)? stringify!($value)][0];
            $changed.push(format!("{}{name}", $prefix));
        })*
        $(entries(concat!($prefix, stringify!($map)), &$old.$map, $map, $changed);)*
    }};
}

/// All that a container is made from: a change needs a new one.
fn of_template(old: &Template, new: &Template, changed: &mut Vec<String>) {
    compare!(Template, "", old, new, changed;
        values: image, pull_policy, platform, command, entrypoint, network_mode, ports, mounts as "volumes",
            healthcheck, container_name, hostname, domainname, user, group_add, working_dir, read_only, privileged,
            cap_add, cap_drop, devices, gpus, security_opt, shm_size, init, tty, stdin_open, stop_signal,
            stop_grace_period, logging, dns, dns_search, dns_opt, extra_hosts, pid, ipc, userns_mode, cgroup,
            runtime, oom_score_adj, oom_kill_disable, cpuset, exclusive as "deploy.exclusive";
        maps: environment, labels, networks, sysctls, ulimits, storage_opt, annotations;
    );
}

/// Limits can be changed under a running container, and new ones set; but the engine reads 0 as «leave it»,
/// so that only a new container is rid of one. The limit of processes is the exception: it knows -1.
fn of_limits(old: &Limits, new: &Limits, in_place: &mut Vec<String>, exchange: &mut Vec<String>) {
    let Limits { memory, cpus, pids, memory_reservation, memory_swap, cpu_shares } = new;
    let mut field = |name: &str, changed: bool, gone: bool| {
        if changed {
            if gone { &mut *exchange } else { &mut *in_place }.push(name.to_owned());
        }
    };
    field("deploy.resources.limits.memory", old.memory != *memory, memory.is_none());
    field("deploy.resources.limits.cpus", old.cpus != *cpus, cpus.is_none());
    field("deploy.resources.limits.pids", old.pids != *pids, false);
    field("mem_reservation", old.memory_reservation != *memory_reservation, memory_reservation.is_none());
    field("memswap_limit", old.memory_swap != *memory_swap, memory_swap.is_none());
    field("cpu_shares", old.cpu_shares != *cpu_shares, cpu_shares.is_none());
}

/// How many copies there are, where, and how they are exchanged: no running copy is touched.
fn of_deploy(old: &Deploy, new: &Deploy, changed: &mut Vec<String>) {
    compare!(Deploy, "deploy.", old, new, changed;
        values: mode, replicas, placement, reservations as "resources.reservations", restart_policy, update_config,
            stop_delay, disconnect;
        maps: labels;
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Bytes;

    fn spec() -> ServiceSpec {
        let mut spec = ServiceSpec::default();
        spec.template.image = "web:1".to_owned();
        spec.template.environment.insert("CART".to_owned(), "cart".to_owned());
        spec.limits.memory = Some(Bytes(1 << 20));
        spec
    }

    fn after(edit: impl FnOnce(&mut ServiceSpec)) -> Change {
        let mut new = spec();
        edit(&mut new);
        change(&spec(), &new)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn nothing_changed() {
        assert_eq!(after(|_| {}), Change::None(vec![]));
    }

    #[test]
    fn the_template_changes() {
        assert_eq!(after(|s| s.template.image = "web:2".to_owned()), Change::Template(names(&["image"])));
        let environment = after(|s| {
            s.template.environment.clear();
            s.template.environment.insert("SHOP".to_owned(), "shop".to_owned());
            s.template.mounts.push(crate::service::Mount {
                target: "/x".to_owned(),
                source: crate::service::MountSource::Anonymous,
                read_only: false,
            });
        });
        assert_eq!(
            environment,
            Change::Template(names(&["volumes", "environment.CART", "environment.SHOP"]))
        );
    }

    #[test]
    fn limits_change_in_place_but_do_not_go_in_place() {
        let memory = names(&["deploy.resources.limits.memory"]);
        assert_eq!(after(|s| s.limits.memory = Some(Bytes(2 << 20))), Change::InPlace(memory.clone()));
        assert_eq!(after(|s| s.limits.memory = None), Change::Template(memory));
        let pids = after(|s| {
            s.limits.pids = Some(7);
            s.deploy.replicas = Some(3);
        });
        assert_eq!(pids, Change::InPlace(names(&["deploy.resources.limits.pids", "deploy.replicas"])));
        assert_eq!(pids.to_string(), "deploy.resources.limits.pids, deploy.replicas (in place)");
    }

    #[test]
    fn how_copies_are_run_touches_none() {
        let change = after(|s| {
            s.deploy.replicas = Some(3);
            s.deploy.labels.insert("a".to_owned(), "b".to_owned());
        });
        assert_eq!(change, Change::None(names(&["deploy.replicas", "deploy.labels.a"])));
    }
}
