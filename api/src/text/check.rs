//! Rules of one kind that look at several of its fields.

use std::net::Ipv4Addr;

use crate::healthcheck::{HealthCheckSpec, ProbeKind};
use crate::host::HostSpec;
use crate::network::{Cidr, NetworkSpec};
use crate::quantity::Span;

use super::error::Fault;
use super::keys::Note;
use super::node::{Node, Value};

type Result<T> = std::result::Result<T, Fault>;

/// Asked before all else, since the key that stands in the image's place says why there is none.
pub(crate) fn has_image(spec: &Node) -> Result<()> {
    let Value::Map(_) = spec.value else { return Ok(()) };
    if spec.get("image").is_some_and(|image| !image.is_null()) {
        return Ok(());
    }
    let (key, problem) = if spec.entry("build").is_some() {
        (
            "build",
            "there is no `image`, only `build`, and hosts do not build; build the image, push it, and write `image`",
        )
    } else if spec.entry("extends").is_some() {
        (
            "extends",
            "there is no `image`, only `extends`, and the other service lies in another file; write its keys here",
        )
    } else {
        ("image", "`image` is missing")
    };
    Err(Fault::on([key], problem))
}

/// The ranges that nobody on the internet owns.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// The prefix lengths that a host's part may have: below, a pool has few parts; above, a part few addresses.
const HOST_PREFIXES: std::ops::RangeInclusive<u8> = 16..=28;

/// Checks a Network.
pub(crate) fn network(network: &NetworkSpec, notes: &mut Vec<Note>) -> Result<()> {
    let prefix = network.host_prefix_length();
    if !HOST_PREFIXES.contains(&prefix) {
        let problem =
            format!("{prefix} is out of range: a host's part has a prefix length from 16 to 28, like 24");
        return Err(Fault::on(["ipam", "host_prefix_length"], problem));
    }
    if network.ipam.config.is_empty() {
        return Err(Fault::on(
            ["ipam", "config"],
            "a Network needs a pool of addresses; write `- subnet: 10.88.0.0/16`",
        ));
    }
    let pools: Vec<Cidr> = network.pools().collect();
    for (index, pool) in pools.iter().enumerate() {
        let index = index.to_string();
        pool_alone(pool, prefix, &index, notes)?;
        if let Some(other) =
            pools.iter().take_while(|other| !std::ptr::eq(*other, pool)).find(|other| other.overlaps(pool))
        {
            let problem = format!("the pool {pool} overlaps with {other}; write one of them differently");
            return Err(Fault::on(["ipam", "config", &index, "subnet"], problem));
        }
    }
    if network.ttl().0 > std::time::Duration::from_secs(3600) {
        let problem = format!(
            "names may not be cached for {}: changes would be seen too late; 1h at most",
            network.ttl()
        );
        return Err(Fault::on(["dns", "ttl"], problem));
    }
    Ok(())
}

fn pool_alone(pool: &Cidr, prefix: u8, index: &str, notes: &mut Vec<Note>) -> Result<()> {
    let path = ["ipam", "config", index, "subnet"];
    if pool.prefix() > prefix {
        let problem = format!(
            "the pool {pool} is smaller than one host's part, a /{prefix}; write a larger pool or a longer `host_prefix_length`"
        );
        return Err(Fault::on(path, problem));
    }
    if pool.prefix() < 8 {
        return Err(Fault::on(
            path,
            format!("the pool {pool} is too large; take a part of it, like 10.88.0.0/16"),
        ));
    }
    let first = pool.network();
    if first.is_loopback()
        || first.is_multicast()
        || first.is_link_local()
        || first.octets()[0] == 0
        || first.octets()[0] >= 240
    {
        return Err(Fault::on(
            path,
            format!("{pool} cannot be given to containers; take a private range, like 10.88.0.0/16"),
        ));
    }
    let private = PRIVATE
        .iter()
        .any(|(address, bits)| pool.prefix() >= *bits && Cidr::new(*address, *bits).contains(first));
    if !private {
        notes.push(Note::on(
            path,
            format!("{pool} is no private range: what others own there will not be reached"),
        ));
    }
    let hosts = 1u64 << (prefix - pool.prefix());
    if hosts == 1 {
        notes
            .push(Note::on(path, format!("{pool} is one host's part: a second host will find no addresses")));
    }
    Ok(())
}

/// Checks a HealthCheck.
pub(crate) fn healthcheck(check: &HealthCheckSpec) -> Result<()> {
    let (http, exec) = (check.probe == ProbeKind::Http, check.probe == ProbeKind::Exec);
    let kind = match check.probe {
        ProbeKind::Http => "http",
        ProbeKind::Tcp => "tcp",
        ProbeKind::Exec => "exec",
    };
    if !exec && check.port.is_none() {
        return Err(Fault::on(
            ["type"],
            format!("a check of type {kind} needs a `port`, by number or by its name in the Service"),
        ));
    }
    if exec && check.command.as_ref().is_none_or(|command| command.first().is_none_or(String::is_empty)) {
        return Err(Fault::on(["type"], "a check of type exec needs a `command`, a list of words"));
    }
    let stray = [
        ("port", exec && check.port.is_some()),
        ("command", !exec && check.command.is_some()),
        ("path", !http && check.path.is_some()),
        ("method", !http && check.method.is_some()),
        ("header", !http && !check.header.is_empty()),
    ];
    if let Some((key, _)) = stray.iter().find(|(_, stray)| *stray) {
        return Err(Fault::on([*key], format!("a check of type {kind} has no `{key}`; leave it out")));
    }
    http_request(check)?;
    times(check)
}

fn http_request(check: &HealthCheckSpec) -> Result<()> {
    if let Some(path) = &check.path
        && !(path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic()))
    {
        return Err(Fault::on(["path"], format!("{path:?} is no path: it begins with / and has no spaces")));
    }
    if let Some(method) = &check.method
        && (method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()))
    {
        return Err(Fault::on(["method"], format!("{method:?} is no method: write it like GET or HEAD")));
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    for (name, value) in &check.header {
        // A line break in a header would be a second request.
        if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
            return Err(Fault::on(["header", name], format!("{name:?} with {value:?} is no header line")));
        }
    }
    Ok(())
}

/// The shortest time between two checks: below it, checking is a load of its own.
const SHORTEST: Span = Span::millis(100);
const DAY: Span = Span::seconds(86_400);

fn times(check: &HealthCheckSpec) -> Result<()> {
    for (key, span, least) in [
        ("interval", check.interval, SHORTEST),
        ("start_interval", check.start_interval, SHORTEST),
        ("timeout", check.timeout, Span::millis(10)),
    ] {
        if let Some(span) = span.filter(|span| *span < least) {
            return Err(Fault::on([key], format!("{span} is too short for `{key}`: at least {least}")));
        }
        if let Some(span) = span.filter(|span| *span > DAY) {
            return Err(Fault::on([key], format!("{span} is too long for `{key}`: at most {DAY}")));
        }
    }
    for (key, count) in [("retries", check.retries), ("success_before_passing", check.success_before_passing)]
    {
        if count == Some(0) {
            return Err(Fault::on([key], format!("`{key}` counts from 1; leave it out for its default")));
        }
    }
    if check.restart().is_some_and(|restart| restart.limit == Some(0)) {
        let problem = "`limit` counts from 1; leave `restart` out for no restarts at all";
        return Err(Fault::on(["effects", "restart", "limit"], problem));
    }
    Ok(())
}

/// Checks a Host.
pub(crate) fn host(host: &HostSpec) -> Result<()> {
    let address = host.address;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        let problem =
            format!("{address} cannot be reached by other hosts; write the host's address on the LAN");
        return Err(Fault::on(["address"], problem));
    }
    Ok(())
}
