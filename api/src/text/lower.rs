//! From the forms that people write to the one that controllers see, and what can only be judged when two
//! keys are looked at together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::Ipv4Addr;

use crate::name::ObjectName;
use crate::service::{self, EngineCheck, Mode, Mount, Port, Reservations, ServiceSpec, Template};

use super::error::Fault;
use super::keys::Note;
use super::raw::forms::{OneOrMany, Pairs, PairsOf, Scalar, Words};
use super::raw::{self, deploy, small};

mod text;

type Result<T> = std::result::Result<T, Fault>;

/// Brings a Service to its canonical form.
pub(crate) fn service(raw: raw::Service, notes: &mut Vec<Note>) -> Result<ServiceSpec> {
    // Without `..`: a key that is added to the raw form is not forgotten here.
    let raw::Service {
        image,
        pull_policy,
        platform,
        command,
        entrypoint,
        environment,
        labels,
        networks,
        network_mode,
        ports,
        volumes,
        tmpfs,
        healthcheck,
        container_name,
        hostname,
        domainname,
        user,
        group_add,
        working_dir,
        read_only,
        privileged,
        cap_add,
        cap_drop,
        devices,
        gpus,
        security_opt,
        sysctls,
        ulimits,
        shm_size,
        init,
        tty,
        stdin_open,
        stop_signal,
        stop_grace_period,
        logging,
        dns,
        dns_search,
        dns_opt,
        extra_hosts,
        pid,
        ipc,
        userns_mode,
        cgroup,
        runtime,
        storage_opt,
        oom_score_adj,
        oom_kill_disable,
        cpuset,
        annotations,
        restart,
        scale,
        mem_limit,
        mem_reservation,
        memswap_limit,
        pids_limit,
        cpus,
        cpu_shares,
        depends_on,
        endpoints_policy,
        deploy,
    } = raw;
    let twins =
        Twins { scale, mem_limit, mem_reservation, memswap_limit, pids_limit, cpus, cpu_shares, restart };
    let (limits, deploy) = twins.with(deploy.unwrap_or_default())?;
    let template = Template {
        image: text::image(image)?,
        pull_policy,
        platform: text::platform(platform)?,
        command: words("command", command, notes),
        entrypoint: words("entrypoint", entrypoint, notes),
        environment: environment.map(|PairsOf(pairs)| pairs).unwrap_or_default(),
        labels: own_labels(&["labels"], labels)?,
        networks: networks.map(|small::Networks(networks)| networks).unwrap_or_default(),
        network_mode,
        ports: distinct_ports(ports.unwrap_or_default().into_iter().map(|entry| entry.0).collect())?,
        mounts: distinct_mounts(
            volumes.unwrap_or_default().into_iter().map(|entry| entry.0).collect(),
            tmpfs.map(|entries| entries.0).unwrap_or_default(),
        )?,
        healthcheck: healthcheck.map(engine_check).transpose()?,
        container_name,
        hostname: hostname.map(|name| text::hostname("hostname", name)).transpose()?,
        domainname: domainname.map(|name| text::hostname("domainname", name)).transpose()?,
        user: user.map(|Scalar(user)| user).filter(|user| !user.is_empty()),
        group_add: scalars(group_add),
        working_dir: working_dir.map(text::working_dir).transpose()?,
        read_only,
        privileged,
        cap_add: text::capabilities("cap_add", cap_add)?,
        cap_drop: text::capabilities("cap_drop", cap_drop)?,
        devices: devices.unwrap_or_default().into_iter().map(|entry| entry.0).collect(),
        gpus: gpus.map(|small::Gpus(count)| count),
        security_opt: text::security_opt(security_opt)?,
        sysctls: pairs(sysctls),
        ulimits: ulimits.unwrap_or_default().into_iter().map(|(name, limit)| (name, limit.0)).collect(),
        shm_size,
        init,
        tty,
        stdin_open,
        stop_signal: stop_signal.map(text::signal).transpose()?,
        stop_grace_period,
        logging: logging.map(|small::Logging { driver, options }| service::Logging {
            driver,
            options: scalar_map(options),
        }),
        dns: resolvers(dns)?,
        // Compose clears the list with an empty text.
        dns_search: dns_search
            .map(|OneOrMany(list)| list.into_iter().filter(|domain| !domain.is_empty()).collect()),
        dns_opt: dns_opt.unwrap_or_default(),
        extra_hosts: extra_hosts.map(|small::ExtraHosts(lines)| lines).unwrap_or_default(),
        pid,
        ipc: ipc
            .map(|word| text::one_of("ipc", word, &["host", "private", "shareable", "none"]))
            .transpose()?,
        userns_mode,
        cgroup: cgroup.map(|word| text::one_of("cgroup", word, &["host", "private"])).transpose()?,
        runtime,
        storage_opt: scalar_map(storage_opt),
        oom_score_adj: oom_score_adj.map(|n| within("oom_score_adj", n, -1000, 1000)).transpose()?,
        oom_kill_disable,
        cpuset: cpuset.map(text::cpuset).transpose()?,
        annotations: pairs(annotations),
    };
    let depends_on = depends_on.map(|small::DependsOn(services)| services).unwrap_or_default();
    let spec = ServiceSpec { template, limits, deploy, depends_on, endpoints_policy };
    together(&spec)?;
    advise(&spec, notes);
    Ok(spec)
}

/// Compose has two words for some things; both may be written if they agree.
struct Twins {
    scale: Option<u32>,
    mem_limit: Option<crate::quantity::Bytes>,
    mem_reservation: Option<crate::quantity::Bytes>,
    memswap_limit: Option<Scalar>,
    pids_limit: Option<i64>,
    cpus: Option<crate::quantity::MilliCpus>,
    cpu_shares: Option<i64>,
    restart: Option<small::Restart>,
}

fn one<T: PartialEq + Display>(short: &str, a: Option<T>, long: &str, b: Option<T>) -> Result<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(Fault::on(
            [short],
            format!(
                "`{short}: {a}` and `{long}: {b}` are two words for one thing, and differ; keep one of them"
            ),
        )),
        (a, b) => Ok(b.or(a)),
    }
}

impl Twins {
    fn with(self, deploy: deploy::Deploy) -> Result<(service::Limits, service::Deploy)> {
        let Twins { scale, mem_limit, mem_reservation, memswap_limit, pids_limit, cpus, cpu_shares, restart } =
            self;
        let deploy::Deploy {
            mode,
            endpoint_mode: _,
            replicas,
            labels,
            placement,
            resources,
            restart_policy,
            update_config,
            stop_delay,
            disconnect,
        } = deploy;
        let deploy::Resources { limits, reservations } = resources.unwrap_or_default();
        let (high, low) = (limits.unwrap_or_default(), reservations.unwrap_or_default());
        let low = Reservations {
            cpus: low.cpus,
            memory: one(
                "mem_reservation",
                mem_reservation,
                "deploy.resources.reservations.memory",
                low.memory,
            )?,
        };
        let limits = service::Limits {
            memory: one("mem_limit", mem_limit, "deploy.resources.limits.memory", high.memory)?,
            cpus: one("cpus", cpus, "deploy.resources.limits.cpus", high.cpus)?,
            pids: one("pids_limit", pids_limit, "deploy.resources.limits.pids", high.pids)?,
            // As in Swarm, what is set aside is the ledger's alone; Compose's own word tells the kernel too.
            memory_reservation: mem_reservation,
            memory_swap: memswap_limit.map(|Scalar(size)| text::swap(&size)).transpose()?,
            cpu_shares,
        };
        if restart.is_some() && restart_policy.is_some() {
            return Err(Fault::on(
                ["restart"],
                "`restart` and `deploy.restart_policy` are two words for one thing; keep one of them",
            ));
        }
        let deploy = service::Deploy {
            mode,
            replicas: one("scale", scale, "deploy.replicas", replicas)?,
            labels: own_labels(&["deploy", "labels"], labels)?,
            placement: placed(placement.unwrap_or_default())?,
            reservations: low,
            restart_policy: restart_policy
                .or(restart.map(|small::Restart(policy)| policy))
                .unwrap_or_default(),
            update_config: update_config.unwrap_or_default(),
            stop_delay,
            disconnect: disconnect.unwrap_or_default(),
        };
        Ok((limits, deploy))
    }
}

fn placed(raw: deploy::Placement) -> Result<service::Placement> {
    let deploy::Placement { constraints, preferences, max_replicas_per_node } = raw;
    if max_replicas_per_node == Some(0) {
        return Err(Fault::on(
            ["deploy", "placement", "max_replicas_per_node"],
            "0 copies a host are none at all; write `deploy.replicas: 0` for that, or leave it out for no limit",
        ));
    }
    Ok(service::Placement {
        constraints: constraints.unwrap_or_default().into_iter().map(|text| text.0).collect(),
        spread: preferences.unwrap_or_default().into_iter().map(|preference| preference.spread.0).collect(),
        max_replicas_per_node,
    })
}

/// What can be judged only when all keys are there.
fn together(spec: &ServiceSpec) -> Result<()> {
    let ServiceSpec { template, limits, deploy, .. } = spec;
    if deploy.mode == Some(Mode::Global) && deploy.replicas.is_some() {
        return Err(Fault::on(
            ["deploy", "replicas"],
            "in global mode every host that fits carries one copy; leave `replicas` out, or write `mode: replicated`",
        ));
    }
    if template.network_mode.is_some() && !template.networks.is_empty() {
        return Err(Fault::on(
            ["network_mode"],
            "`network_mode` stands instead of `networks`; keep one of them",
        ));
    }
    if template.network_mode == Some(service::NetworkMode::None)
        && template.ports.iter().any(|p| p.published.is_some())
    {
        return Err(Fault::on(["ports"], "nothing can be published with `network_mode: none`"));
    }
    if let (Some(low), Some(high)) = (deploy.reservations.memory, limits.memory)
        && low > high
    {
        return Err(Fault::on(
            ["deploy", "resources"],
            format!(
                "{low} of memory are set aside, but a copy may use only {high}; lower the reservation or raise the limit"
            ),
        ));
    }
    if let (Some(low), Some(high)) = (deploy.reservations.cpus, limits.cpus)
        && low > high
    {
        return Err(Fault::on(
            ["deploy", "resources"],
            format!(
                "{low} CPUs are set aside, but a copy may use only {high}; lower the reservation or raise the limit"
            ),
        ));
    }
    if let Some(swap) = limits.memory_swap {
        match limits.memory {
            None => {
                return Err(Fault::on(
                    ["memswap_limit"],
                    "`memswap_limit` needs a limit of memory beside it",
                ));
            }
            Some(memory) if swap >= 0 && swap.unsigned_abs() < memory.0 => {
                let problem = format!(
                    "`memswap_limit` counts memory and swap together, so it cannot be below {memory}"
                );
                return Err(Fault::on(["memswap_limit"], problem));
            }
            Some(_) => {}
        }
    }
    if let Some(ratio) = deploy.update_config.max_failure_ratio
        && !(0.0..=1.0).contains(&ratio)
    {
        return Err(Fault::on(
            ["deploy", "update_config", "max_failure_ratio"],
            format!("{ratio} is no share: write a number from 0 to 1"),
        ));
    }
    Ok(())
}

/// What its author should hear of.
fn advise(spec: &ServiceSpec, notes: &mut Vec<Note>) {
    let ServiceSpec { template, deploy, .. } = spec;
    let many = deploy.mode == Some(Mode::Global) || deploy.replicas.is_some_and(|n| n > 1);
    if let Some(name) = template.container_name.as_ref().filter(|_| many) {
        let message = format!(
            "`container_name` is one more name for all copies together: {name} gives every copy's address"
        );
        notes.push(Note::on(["container_name"], message));
    }
    if template.hostname.is_some() && many {
        notes.push(Note::on(["hostname"], "every copy has the same `hostname`"));
    }
    if !template.dns.is_empty() {
        notes.push(Note::on(
            ["dns"],
            "`dns` replaces evenkeel's resolver: the names of services will not be found",
        ));
    }
    if !template.devices.is_empty() && deploy.placement.constraints.is_empty() {
        let message = "`devices` without a constraint: a copy on a host that lacks the device does not start; label the \
                       hosts that have it, and write a constraint";
        notes.push(Note::on(["devices"], message));
    }
}

/// Words of a command; told when they look like a shell's, since there is none.
fn words(key: &str, words: Option<Words>, notes: &mut Vec<Note>) -> Option<Vec<String>> {
    let Words { words, split } = words?;
    let shell = ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1"];
    let starts_shell = words.first().is_some_and(|word| word.ends_with("sh"));
    if split
        && !starts_shell
        && let Some(word) = words.iter().find(|word| shell.contains(&word.as_str()))
    {
        let message = format!(
            "`{key}` is run without a shell, so `{word}` is a word like any other; for a shell, write [sh, -c, \"…\"]"
        );
        notes.push(Note::on([key], message));
    }
    Some(words)
}

/// Labels, of which evenkeel's own are not people's to set: it finds its containers by them.
fn own_labels(path: &[&str], labels: Option<Pairs>) -> Result<BTreeMap<String, String>> {
    let labels = pairs(labels);
    match labels.keys().find(|name| name.starts_with("evenkeel.")) {
        Some(name) => Err(Fault::on(
            path.iter().copied().chain([name.as_str()]),
            format!("labels that begin with `evenkeel.` are evenkeel's own; give {name:?} another name"),
        )),
        None => Ok(labels),
    }
}

fn pairs(pairs: Option<Pairs>) -> BTreeMap<String, String> {
    pairs.map(|PairsOf(pairs)| pairs).unwrap_or_default()
}

fn scalars(list: Option<Vec<Scalar>>) -> Vec<String> {
    list.unwrap_or_default().into_iter().map(|Scalar(text)| text).collect()
}

fn scalar_map(map: Option<BTreeMap<String, Scalar>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().map(|(name, Scalar(text))| (name, text)).collect()
}

fn within(key: &str, n: i64, low: i64, high: i64) -> Result<i64> {
    if (low..=high).contains(&n) {
        return Ok(n);
    }
    Err(Fault::on([key], format!("{n} is out of range: `{key}` goes from {low} to {high}")))
}

fn resolvers(list: Option<OneOrMany>) -> Result<Vec<Ipv4Addr>> {
    let list = list.map(|OneOrMany(list)| list).unwrap_or_default();
    list.into_iter()
        .map(|text| {
            text.parse().map_err(|_| {
                Fault::on(["dns"], format!("{text:?} is no IPv4 address; IPv6 is not supported yet"))
            })
        })
        .collect()
}

fn engine_check(check: small::Check) -> Result<EngineCheck> {
    let small::Check { test, interval, timeout, retries, start_period, start_interval, disable } = check;
    let test = match (disable.unwrap_or(false), test) {
        (true, Some(test)) if test.0 != ["NONE"] => {
            return Err(Fault::on(
                ["healthcheck", "disable"],
                "`disable: true` and a `test` exclude each other; keep one of them",
            ));
        }
        (true, _) => vec!["NONE".to_owned()],
        // No test of its own: the image's, with other times.
        (false, test) => test.map(|test| test.0).unwrap_or_default(),
    };
    Ok(EngineCheck { test, interval, timeout, retries, start_period, start_interval })
}

/// Two ports cannot be one on the host, and a name means one port.
fn distinct_ports(entries: Vec<Vec<Port>>) -> Result<Vec<Port>> {
    let mut ports: Vec<Port> = Vec::new();
    for (index, port) in
        entries.into_iter().enumerate().flat_map(|(i, ports)| ports.into_iter().map(move |p| (i, p)))
    {
        let fault = |problem: String| Err(Fault::on(["ports", &index.to_string()], problem));
        for other in ports.iter().filter(|other| other.protocol == port.protocol) {
            if let (Some(a), Some(b)) = (&other.published, &port.published)
                && let (Some(number), true) = (a.port, a.port == b.port)
                && a.host_ip.zip(b.host_ip).is_none_or(|(a, b)| a.overlaps(&b))
            {
                return fault(format!("port {number} of the host is published twice; leave one out"));
            }
            if port.name.is_some() && other.name == port.name {
                let name = port.name.as_ref().map(ObjectName::as_str).unwrap_or_default();
                return fault(format!("two ports are named {name:?}; give one of them another name"));
            }
        }
        ports.push(port);
    }
    Ok(ports)
}

fn distinct_mounts(volumes: Vec<Mount>, tmpfs: Vec<Mount>) -> Result<Vec<Mount>> {
    let mut seen = BTreeSet::new();
    let indexed = |key: &'static str, mounts: &[Mount]| {
        mounts
            .iter()
            .enumerate()
            .map(|(i, mount)| (key, i.to_string(), mount.target.clone()))
            .collect::<Vec<_>>()
    };
    for (key, index, target) in indexed("volumes", &volumes).into_iter().chain(indexed("tmpfs", &tmpfs)) {
        if !seen.insert(target.clone()) {
            return Err(Fault::on(
                [key, &index],
                format!("two things are mounted on {target}; leave one out"),
            ));
        }
    }
    Ok(volumes.into_iter().chain(tmpfs).collect())
}
