//! A container as the engine's API spells it.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, DeviceRequest, EndpointIpamConfig,
    EndpointSettings, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum as Propagation, MountType, MountVolumeOptions,
    NetworkingConfig, PortBinding, PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use evenkeel_api::quantity::Span;
use evenkeel_api::service::{EngineCheck, Limits, Template};
use evenkeel_plan::instance::container::{
    ContainerSpec, MountSpec, MountWhat, NetworkAttachment, NetworkChoice,
};

/// The body of a create call. Of several networks it carries the first; the others are connected before
/// the start, which all API versions can do.
pub(super) fn create(spec: &ContainerSpec) -> ContainerCreateBody {
    let template = &spec.template;
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: template.hostname.clone(),
        domainname: template.domainname.clone(),
        user: template.user.clone(),
        working_dir: template.working_dir.clone(),
        env: Some(template.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: template.command.clone(),
        entrypoint: template.entrypoint.clone(),
        labels: Some(map(&spec.labels)),
        tty: template.tty,
        open_stdin: template.stdin_open,
        stop_signal: template.stop_signal.clone(),
        stop_timeout: Some(seconds(spec.stop_grace.0)),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        exposed_ports: Some(
            spec.ports.iter().map(|port| format!("{}/{}", port.target, port.protocol.as_str())).collect(),
        ),
        host_config: Some(host(spec)),
        networking_config: first(&spec.network).map(|attachment| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(attachment.network.clone(), endpoint(attachment))])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn first(network: &NetworkChoice) -> Option<&NetworkAttachment> {
    match network {
        NetworkChoice::Attached(attachments) => attachments.first(),
        NetworkChoice::Host | NetworkChoice::None => None,
    }
}

/// A place on a network.
pub(super) fn endpoint(attachment: &NetworkAttachment) -> EndpointSettings {
    EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(attachment.address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        aliases: (!attachment.aliases.is_empty()).then(|| attachment.aliases.clone()),
        ..EndpointSettings::default()
    }
}

fn host(spec: &ContainerSpec) -> HostConfig {
    let template = &spec.template;
    let dns: Vec<String> = spec.dns.iter().map(ToString::to_string).collect();
    let (binds, mounts, tmpfs) = mounts(&spec.mounts);
    let base = limits(&spec.limits);
    HostConfig {
        // Restarting is evenkeel's, with its own back-off: two would fight.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        network_mode: Some(match &spec.network {
            NetworkChoice::Host => "host".to_owned(),
            NetworkChoice::None => "none".to_owned(),
            NetworkChoice::Attached(all) => {
                all.first().map_or("none", |attachment| &attachment.network).to_owned()
            }
        }),
        port_bindings: some(ports(spec)),
        binds: some(binds),
        mounts: some(mounts),
        tmpfs: some(tmpfs),
        dns: some(dns),
        dns_search: some(spec.dns_search.clone()),
        dns_options: some(spec.dns_options.clone()),
        ..rights(template, base)
    }
}

/// What the template asks of the kernel, into `base`.
fn rights(template: &Template, base: HostConfig) -> HostConfig {
    HostConfig {
        group_add: some(template.group_add.clone()),
        readonly_rootfs: template.read_only,
        privileged: template.privileged,
        cap_add: some(template.cap_add.clone()),
        cap_drop: some(template.cap_drop.clone()),
        devices: some(template.devices.iter().map(device).collect()),
        device_requests: template.gpus.map(|count| vec![gpus(count)]),
        security_opt: some(template.security_opt.clone()),
        sysctls: some(map(&template.sysctls)),
        ulimits: some(
            (template.ulimits.iter())
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect(),
        ),
        shm_size: template.shm_size.map(|size| signed(size.0)),
        init: template.init,
        log_config: template.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: some(map(&logging.options)),
        }),
        extra_hosts: some(template.extra_hosts.clone()),
        pid_mode: template.pid.map(|_| "host".to_owned()),
        ipc_mode: template.ipc.clone(),
        userns_mode: template.userns_mode.map(|_| "host".to_owned()),
        cgroupns_mode: template.cgroup.as_deref().map(|mode| match mode {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        runtime: template.runtime.clone(),
        storage_opt: some(map(&template.storage_opt)),
        oom_score_adj: template.oom_score_adj,
        oom_kill_disable: template.oom_kill_disable,
        cpuset_cpus: template.cpuset.clone(),
        annotations: some(map(&template.annotations)),
        ..base
    }
}

fn limits(limits: &Limits) -> HostConfig {
    HostConfig {
        memory: limits.memory.map(|memory| signed(memory.0)),
        nano_cpus: limits.cpus.map(|cpus| signed(cpus.0 * 1_000_000)),
        pids_limit: limits.pids,
        memory_reservation: limits.memory_reservation.map(|memory| signed(memory.0)),
        memory_swap: limits.memory_swap,
        cpu_shares: limits.cpu_shares,
        ..HostConfig::default()
    }
}

/// More memory than there is. A limit that was set can be raised, but the API has no word to lift it: below
/// 6 MB, -1 among it, is refused, and -1 for swap is not passed on to the kernel.
pub(super) const UNLIMITED: i64 = 1 << 62;

/// A change of limits. To the API, 0 and absent are «as it was»: no limit must be said in other words.
pub(super) fn update(limits: &Limits, cpus: u64) -> ContainerUpdateBody {
    let memory = limits.memory.map_or(UNLIMITED, |memory| signed(memory.0));
    // As at the making: swap as large as the memory again, where nothing is said. It must be sent along,
    // or a memory limit above the old sum is refused.
    let usual = if memory < UNLIMITED { memory.saturating_mul(2) } else { UNLIMITED };
    let swap = limits.memory_swap.map_or(usual, |swap| if swap < 0 { UNLIMITED } else { swap });
    ContainerUpdateBody {
        memory: Some(memory),
        memory_swap: Some(swap),
        memory_reservation: Some(limits.memory_reservation.map_or(-1, |memory| signed(memory.0))),
        nano_cpus: Some(signed(limits.cpus.map_or(cpus * 1_000_000_000, |cpus| cpus.0 * 1_000_000))),
        pids_limit: Some(limits.pids.unwrap_or(-1)),
        cpu_shares: Some(limits.cpu_shares.unwrap_or(1024)),
        ..ContainerUpdateBody::default()
    }
}

fn device(device: &evenkeel_api::service::Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

fn gpus(count: i64) -> DeviceRequest {
    DeviceRequest {
        count: Some(count),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn ports(spec: &ContainerSpec) -> PortMap {
    let mut map = PortMap::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: Some(port.address.map_or_else(String::new, |address| address.to_string())),
            host_port: Some(port.port.map_or_else(String::new, |port| port.to_string())),
        };
        let target = format!("{}/{}", port.target, port.protocol.as_str());
        map.entry(target).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(binding);
    }
    map
}

type Mounts = (Vec<String>, Vec<Mount>, HashMap<String, String>);

/// Binds whose directory shall be made, or that are relabelled, exist only in the short form; those that
/// must exist only in the long form.
fn mounts(specs: &[MountSpec]) -> Mounts {
    let (mut binds, mut mounts, mut tmpfs) = Mounts::default();
    for spec in specs {
        match &spec.what {
            MountWhat::Volume { name, nocopy } => mounts.push(Mount {
                source: name.clone(),
                volume_options: Some(MountVolumeOptions {
                    no_copy: Some(*nocopy),
                    ..MountVolumeOptions::default()
                }),
                ..mount(spec, MountType::VOLUME)
            }),
            MountWhat::Bind { path, propagation, selinux, create } if *create || selinux.is_some() => {
                let read_only = spec.read_only.then(|| "ro".to_owned());
                let options: Vec<_> =
                    [read_only, selinux.clone(), propagation.clone()].into_iter().flatten().collect();
                let colon = if options.is_empty() { "" } else { ":" };
                binds.push(format!("{path}:{}{colon}{}", spec.target, options.join(",")));
            }
            MountWhat::Bind { path, propagation: spread, .. } => mounts.push(Mount {
                source: Some(path.clone()),
                bind_options: spread.as_deref().and_then(propagation).map(|propagation| MountBindOptions {
                    propagation: Some(propagation),
                    ..MountBindOptions::default()
                }),
                ..mount(spec, MountType::BIND)
            }),
            MountWhat::Tmpfs { options } => {
                let ro = if spec.read_only { Some("ro") } else { None };
                let all: Vec<&str> =
                    ro.into_iter().chain(Some(options.as_str())).filter(|o| !o.is_empty()).collect();
                tmpfs.insert(spec.target.clone(), all.join(","));
            }
        }
    }
    (binds, mounts, tmpfs)
}

fn mount(spec: &MountSpec, kind: MountType) -> Mount {
    Mount {
        target: Some(spec.target.clone()),
        typ: Some(kind),
        read_only: Some(spec.read_only),
        ..Mount::default()
    }
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::RPRIVATE,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::RSHARED,
        "slave" => Propagation::SLAVE,
        "rslave" => Propagation::RSLAVE,
        _ => return None,
    })
}

fn healthcheck(check: &EngineCheck) -> HealthConfig {
    HealthConfig {
        test: Some(check.test.clone()),
        interval: check.interval.map(nanos),
        timeout: check.timeout.map(nanos),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(nanos),
        start_interval: check.start_interval.map(nanos),
    }
}

fn nanos(span: Span) -> i64 {
    i64::try_from(span.0.as_nanos()).unwrap_or(i64::MAX)
}

/// Whole seconds, rounded up: the API knows no fractions, and a grace is never cut short.
pub(super) fn seconds(duration: Duration) -> i64 {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    signed(up)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn map(map: &std::collections::BTreeMap<String, String>) -> HashMap<String, String> {
    map.clone().into_iter().collect()
}

/// Absent where there is nothing in it: the engine's default.
fn some<T>(collection: T) -> Option<T>
where
    for<'a> &'a T: IntoIterator,
{
    let empty = (&collection).into_iter().next().is_none();
    (!empty).then_some(collection)
}
