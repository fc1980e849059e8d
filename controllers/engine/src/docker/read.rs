//! The engine's answers as plain values.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerInspectResponse, ContainerState as State, ContainerStateStatusEnum as Status, ContainerSummary,
    EndpointSettings, HealthStatusEnum, HostConfig, ImageInspect, IpamConfig, PortMap,
};
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::{HostPort, Timestamp, Verdict};
use evenkeel_api::service::{Limits, Protocol};
use evenkeel_plan::instance::container::{Container, ContainerState};

use super::spec::UNLIMITED;
use crate::types::{Image, Network, NetworkSubnet};

pub(super) fn container(answer: ContainerInspectResponse, cpus: u64) -> Container {
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let network = answer.network_settings.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let how = how(&state);
    Container {
        id: answer.id.unwrap_or_default(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        labels: sorted(config.labels),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        state: how,
        started: state.started_at.as_deref().and_then(timestamp),
        finished: state.finished_at.as_deref().and_then(timestamp),
        health: state.health.and_then(|health| health.status).and_then(verdict),
        addresses: addresses(network.networks),
        ports: if how == ContainerState::Running { ports(network.ports) } else { Vec::new() },
        limits: limits(&host, cpus),
        pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
    }
}

/// A container that the engine is at, as far as its list says.
pub(super) fn held(listed: ContainerSummary) -> Container {
    Container {
        id: listed.id.unwrap_or_default(),
        name: listed.names.unwrap_or_default().concat().trim_start_matches('/').to_owned(),
        labels: sorted(listed.labels),
        image: listed.image.unwrap_or_default(),
        image_id: listed.image_id.unwrap_or_default(),
        state: ContainerState::Changing,
        started: None,
        finished: None,
        health: None,
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        limits: Limits::default(),
        pid: None,
    }
}

fn how(state: &State) -> ContainerState {
    match state.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::RUNNING) => ContainerState::Running,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::EXITED) => ContainerState::Exited {
            code: state.exit_code.unwrap_or(0),
            oom: state.oom_killed.unwrap_or(false),
        },
        Some(Status::DEAD) => ContainerState::Dead,
        // Also what only other engines say.
        _ => ContainerState::Changing,
    }
}

fn verdict(status: HealthStatusEnum) -> Option<Verdict> {
    match status {
        HealthStatusEnum::STARTING => Some(Verdict::Starting),
        HealthStatusEnum::HEALTHY => Some(Verdict::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Verdict::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn addresses(networks: Option<HashMap<String, EndpointSettings>>) -> BTreeMap<String, Ipv4Addr> {
    let address = |endpoint: EndpointSettings| {
        // The address in use; of a container that does not run, the one that was asked for.
        let asked = endpoint.ipam_config.and_then(|ipam| ipam.ipv4_address);
        [endpoint.ip_address, asked].into_iter().flatten().find_map(|text| text.parse().ok())
    };
    let all = networks.unwrap_or_default().into_iter();
    all.filter_map(|(name, endpoint)| Some((name, address(endpoint)?))).collect()
}

fn ports(map: Option<PortMap>) -> Vec<HostPort> {
    let mut ports = Vec::new();
    for (target, bindings) in map.unwrap_or_default() {
        let (number, protocol) = target.split_once('/').unwrap_or((&target, "tcp"));
        let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
        let Ok(target) = number.parse() else { continue };
        for binding in bindings.unwrap_or_default() {
            // An IPv6 wildcard beside the IPv4 one is the same port.
            let address = binding.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            let port = binding.host_port.as_deref().and_then(|port| port.parse().ok());
            if let (Some(address), Some(port)) = (address, port) {
                ports.push(HostPort { address, port, target, protocol });
            }
        }
    }
    ports.sort();
    ports
}

fn limits(host: &HostConfig, cpus: u64) -> Limits {
    let positive = |value: Option<i64>| value.filter(|value| *value > 0);
    let bytes = |value| positive(value).map(|value| Bytes(value.unsigned_abs()));
    Limits {
        memory: bytes(host.memory.filter(|memory| *memory < UNLIMITED)),
        cpus: positive(host.nano_cpus)
            .map(|nano| MilliCpus(nano.unsigned_abs() / 1_000_000))
            .filter(|limit| cpus == 0 || limit.0 < cpus * 1000),
        pids: positive(host.pids_limit),
        memory_reservation: bytes(host.memory_reservation),
        memory_swap: host
            .memory_swap
            .filter(|swap| *swap != 0)
            .map(|swap| if swap < UNLIMITED { swap } else { -1 }),
        cpu_shares: positive(host.cpu_shares),
    }
}

pub(super) fn image(answer: ImageInspect) -> Image {
    Image { id: answer.id.unwrap_or_default(), digests: answer.repo_digests.unwrap_or_default() }
}

/// The parts that a network in a list and an inspected one have in common.
pub(super) struct NetworkAnswer {
    pub id: Option<String>,
    pub name: Option<String>,
    pub driver: Option<String>,
    pub labels: Option<HashMap<String, String>>,
    pub options: Option<HashMap<String, String>>,
    pub ipam: Option<bollard::models::Ipam>,
}

pub(super) fn network(answer: NetworkAnswer) -> Network {
    let id = answer.id.unwrap_or_default();
    let driver = answer.driver.unwrap_or_default();
    let options = sorted(answer.options);
    let named = options.get("com.docker.network.bridge.name").cloned();
    let bridge =
        named.or_else(|| (driver == "bridge").then(|| format!("br-{}", id.get(..12).unwrap_or(&id))));
    Network {
        name: answer.name.unwrap_or_default(),
        labels: sorted(answer.labels),
        subnets: answer.ipam.and_then(|ipam| ipam.config).into_iter().flatten().filter_map(subnet).collect(),
        containers: BTreeMap::new(),
        id,
        driver,
        options,
        bridge,
    }
}

fn subnet(config: IpamConfig) -> Option<NetworkSubnet> {
    Some(NetworkSubnet {
        subnet: config.subnet?.parse().ok()?,
        ip_range: config.ip_range.and_then(|range| range.parse().ok()),
        gateway: config.gateway.and_then(|gateway| gateway.parse().ok()),
    })
}

pub(super) fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

/// `2026-11-24T17:06:01.123456789Z`, in milliseconds since 1970. The engine's «never» is year 1: `None`.
fn timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    if year < 1970 {
        return None;
    }
    let (time, offset) = offset(time)?;
    let mut time = time.splitn(3, ':');
    let (hour, minute): (i64, i64) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let (second, fraction) = time.next().map(|s| s.split_once('.').unwrap_or((s, "0")))?;
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second.parse::<i64>().ok()?;
    Some(Timestamp((seconds - offset * 60) * 1000 + millis))
}

/// A time without its zone, and the zone's distance from UTC in minutes.
fn offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    Some((&time[..at], if time[at..].starts_with('-') { -minutes } else { minutes }))
}

/// Days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: the leap day is their last one.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(Timestamp(0)));
        assert_eq!(timestamp("2000-03-01T00:00:00.5Z"), Some(Timestamp(951_868_800_500)));
        assert_eq!(timestamp("2026-11-24T17:06:01.123456789Z"), Some(Timestamp(1_795_539_961_123)));
        assert_eq!(timestamp("2026-11-24T18:06:01.123+01:00"), Some(Timestamp(1_795_539_961_123)));
        assert_eq!(timestamp("0001-01-01T00:00:00Z"), None);
        assert_eq!(timestamp("soon"), None);
    }
}
