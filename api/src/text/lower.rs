//! From the forms that people write to the one that controllers see, and what can only be judged when two
//! keys are looked at together.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::quantity::Span;
use crate::service::{self, EngineCheck, Mode, ServiceSpec, Template};

use super::error::Fault;
use super::keys::Note;
use super::raw::forms::{OneOrMany, Pairs, PairsOf, Scalar, Words};
use super::raw::{self, named, small};

mod distinct;
mod exclusive;
mod text;
mod twins;

type Result<T> = std::result::Result<T, Fault>;

/// Brings a Service to its canonical form.
pub(crate) fn service(mut raw: raw::Service, notes: &mut Vec<Note>) -> Result<ServiceSpec> {
    // Before `deploy` is taken apart; `false` is what everything else is.
    let exclusive = raw.deploy.as_ref().and_then(|deploy| deploy.exclusive).unwrap_or(false);
    let (limits, deploy) = twins::resolve(&mut raw)?;
    let depends_on = raw.depends_on.take().map(|named::DependsOn(services)| services).unwrap_or_default();
    let endpoints_policy = raw.endpoints_policy;
    let template = Template { exclusive, ..template(raw, notes)? };
    let spec = ServiceSpec { template, limits, deploy, depends_on, endpoints_policy };
    together(&spec)?;
    exclusive::check(&spec)?;
    advise(&spec, notes);
    Ok(spec)
}

/// What the container of a copy is made from.
fn template(raw: raw::Service, notes: &mut Vec<Note>) -> Result<Template> {
    Ok(Template {
        image: text::image(raw.image)?,
        pull_policy: raw.pull_policy,
        platform: text::platform(raw.platform)?,
        command: words("command", raw.command, notes),
        entrypoint: words("entrypoint", raw.entrypoint, notes),
        environment: raw.environment.map(|PairsOf(pairs)| pairs).unwrap_or_default(),
        labels: own_labels(&["labels"], raw.labels)?,
        networks: raw.networks.map(|named::Networks(networks)| networks).unwrap_or_default(),
        network_mode: raw.network_mode,
        ports: distinct::ports(raw.ports.unwrap_or_default().into_iter().map(|entry| entry.0).collect())?,
        mounts: distinct::mounts(
            raw.volumes.unwrap_or_default().into_iter().map(|entry| entry.0).collect(),
            raw.tmpfs.map(|entries| entries.0).unwrap_or_default(),
        )?,
        healthcheck: raw.healthcheck.map(engine_check).transpose()?,
        container_name: raw.container_name,
        hostname: raw.hostname.map(|name| text::hostname("hostname", name)).transpose()?,
        domainname: raw.domainname.map(|name| text::hostname("domainname", name)).transpose()?,
        user: raw.user.map(|Scalar(user)| user).filter(|user| !user.is_empty()),
        group_add: scalars(raw.group_add),
        working_dir: raw.working_dir.map(text::working_dir).transpose()?,
        read_only: raw.read_only,
        privileged: raw.privileged,
        cap_add: text::capabilities("cap_add", raw.cap_add)?,
        cap_drop: text::capabilities("cap_drop", raw.cap_drop)?,
        devices: raw.devices.unwrap_or_default().into_iter().map(|entry| entry.0).collect(),
        gpus: raw.gpus.map(|small::Gpus(count)| count),
        security_opt: text::security_opt(raw.security_opt)?,
        sysctls: pairs(raw.sysctls),
        ulimits: raw.ulimits.unwrap_or_default().into_iter().map(|(name, limit)| (name, limit.0)).collect(),
        shm_size: raw.shm_size,
        init: raw.init,
        tty: raw.tty,
        stdin_open: raw.stdin_open,
        stop_signal: raw.stop_signal.map(text::signal).transpose()?,
        stop_grace_period: raw.stop_grace_period,
        logging: raw.logging.map(|small::Logging { driver, options }| service::Logging {
            driver,
            options: scalar_map(options),
        }),
        dns: resolvers(raw.dns)?,
        // Compose clears the list with an empty text.
        dns_search: raw
            .dns_search
            .map(|OneOrMany(list)| list.into_iter().filter(|domain| !domain.is_empty()).collect()),
        dns_opt: raw.dns_opt.unwrap_or_default(),
        extra_hosts: raw.extra_hosts.map(|named::ExtraHosts(lines)| lines).unwrap_or_default(),
        pid: raw.pid,
        ipc: raw
            .ipc
            .map(|word| text::one_of("ipc", word, &["host", "private", "shareable", "none"]))
            .transpose()?,
        userns_mode: raw.userns_mode,
        cgroup: raw.cgroup.map(|word| text::one_of("cgroup", word, &["host", "private"])).transpose()?,
        runtime: raw.runtime,
        storage_opt: scalar_map(raw.storage_opt),
        oom_score_adj: raw.oom_score_adj.map(|n| within("oom_score_adj", n, -1000, 1000)).transpose()?,
        oom_kill_disable: raw.oom_kill_disable,
        cpuset: raw.cpuset.map(text::cpuset).transpose()?,
        annotations: pairs(raw.annotations),
        exclusive: false,
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
    if deploy.update_config.progress_deadline == Some(Span::default()) {
        return Err(Fault::on(
            ["deploy", "update_config", "progress_deadline"],
            "0s are no time at all: no new copy could become ready; leave it out for 10m",
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
