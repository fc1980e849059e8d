//! Compose has two words for some things: a short one of the container, and a long one below `deploy`. Both
//! may be written if they agree.

use std::fmt::Display;

use crate::service::{self, Reservations};

use super::super::error::Fault;
use super::super::raw::forms::Scalar;
use super::super::raw::{self, deploy, small};
use super::{Result, own_labels, text};

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

/// Limits and `deploy` of a Service, whichever words it uses for them.
pub(super) fn resolve(raw: &mut raw::Service) -> Result<(service::Limits, service::Deploy)> {
    let deploy = raw.deploy.take().unwrap_or_default();
    let deploy::Resources { limits, reservations } = deploy.resources.unwrap_or_default();
    let (high, low) = (limits.unwrap_or_default(), reservations.unwrap_or_default());
    let low = Reservations {
        cpus: low.cpus,
        memory: one(
            "mem_reservation",
            raw.mem_reservation,
            "deploy.resources.reservations.memory",
            low.memory,
        )?,
    };
    let limits = service::Limits {
        memory: one("mem_limit", raw.mem_limit, "deploy.resources.limits.memory", high.memory)?,
        cpus: one("cpus", raw.cpus, "deploy.resources.limits.cpus", high.cpus)?,
        pids: one("pids_limit", raw.pids_limit, "deploy.resources.limits.pids", high.pids)?,
        // As in Swarm, what is set aside is the ledger's alone; Compose's own word tells the kernel too.
        memory_reservation: raw.mem_reservation,
        memory_swap: raw.memswap_limit.take().map(|Scalar(size)| text::swap(&size)).transpose()?,
        cpu_shares: raw.cpu_shares,
    };
    if raw.restart.is_some() && deploy.restart_policy.is_some() {
        return Err(Fault::on(
            ["restart"],
            "`restart` and `deploy.restart_policy` are two words for one thing; keep one of them",
        ));
    }
    let restart = raw.restart.map(|small::Restart(policy)| policy);
    let deploy = service::Deploy {
        mode: deploy.mode,
        replicas: one("scale", raw.scale, "deploy.replicas", deploy.replicas)?,
        labels: own_labels(&["deploy", "labels"], deploy.labels)?,
        placement: placed(deploy.placement.unwrap_or_default())?,
        reservations: low,
        restart_policy: deploy.restart_policy.or(restart).unwrap_or_default(),
        update_config: deploy.update_config.map(rounded).unwrap_or_default(),
        stop_delay: deploy.stop_delay,
        disconnect: deploy.disconnect.unwrap_or_default(),
    };
    Ok((limits, deploy))
}

/// A share to the millionth: one with more digits may come back from a record as another number.
fn rounded(config: service::UpdateConfig) -> service::UpdateConfig {
    let max_failure_ratio = config.max_failure_ratio.map(|ratio| (ratio * 1e6).round() / 1e6);
    service::UpdateConfig { max_failure_ratio, ..config }
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
