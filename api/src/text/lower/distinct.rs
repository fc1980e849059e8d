//! Ports and mounts that get in each other's way.

use std::collections::BTreeSet;

use crate::name::ObjectName;
use crate::service::{Mount, Port};

use super::super::error::Fault;
use super::Result;

/// The most ports of one service: ranges make it easy to ask for more than any record holds.
const MOST_PORTS: usize = 500;

/// Two ports cannot be one on the host, and a name means one port.
pub(super) fn ports(entries: Vec<Vec<Port>>) -> Result<Vec<Port>> {
    let count: usize = entries.iter().map(Vec::len).sum();
    if count > MOST_PORTS {
        let problem = format!(
            "{count} ports are too many: {MOST_PORTS} at most; inside the network all are open without being written"
        );
        return Err(Fault::on(["ports"], problem));
    }
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

/// Two things cannot be mounted on one place. Volumes come first, then tmpfs.
pub(super) fn mounts(volumes: Vec<Mount>, tmpfs: Vec<Mount>) -> Result<Vec<Mount>> {
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
