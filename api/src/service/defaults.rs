//! What holds where a Service says nothing. Applied when a decision is made, never stored.

use crate::name::NetworkName;
use crate::quantity::Span;

use super::{Mode, RestartCondition, ServiceSpec, Template, UpdateOrder};

/// Time for a container to stop before it is killed.
pub const STOP_GRACE: Span = Span::seconds(10);
/// How long a new copy is watched before it counts as good.
pub const MONITOR: Span = Span::seconds(5);
/// How long a new copy has to become ready.
pub const PROGRESS_DEADLINE: Span = Span::seconds(600);
/// From a host's last possible heartbeat to the replacement of its copies.
pub const LOST_AFTER: Span = Span::seconds(4);
/// From the last proof of life of its host to the end of an exclusive copy.
pub const STOP_ON_CLIENT_AFTER: Span = Span::seconds(5);
/// Copies that are exchanged at once.
pub const PARALLELISM: u32 = 1;
/// What `stop_delay` adds to the longest time that a name may be cached.
pub const STOP_DELAY_MARGIN: Span = Span::seconds(1);

impl ServiceSpec {
    /// Replicated or global.
    pub fn mode(&self) -> Mode {
        self.deploy.mode.unwrap_or_default()
    }

    /// Copies wanted, in replicated mode.
    pub fn replicas(&self) -> u32 {
        self.deploy.replicas.unwrap_or(1)
    }

    /// Copies exchanged at once; `None`: all.
    pub fn parallelism(&self) -> Option<u32> {
        Some(self.deploy.update_config.parallelism.unwrap_or(PARALLELISM)).filter(|n| *n > 0)
    }

    /// Which of a slot's two copies goes first.
    pub fn order(&self) -> UpdateOrder {
        self.deploy.update_config.order.unwrap_or_default()
    }

    /// How long a new copy is watched.
    pub fn monitor(&self) -> Span {
        self.deploy.update_config.monitor.unwrap_or(MONITOR)
    }

    /// How long a new copy has to become ready before it counts as failed.
    pub fn progress_deadline(&self) -> Span {
        self.deploy.update_config.progress_deadline.unwrap_or(PROGRESS_DEADLINE)
    }

    /// After which ends a container is started again.
    pub fn restart_condition(&self) -> RestartCondition {
        self.deploy.restart_policy.condition.unwrap_or(RestartCondition::Any)
    }

    /// From a host's last possible heartbeat to replacement.
    pub fn lost_after(&self) -> Span {
        self.deploy.disconnect.lost_after.unwrap_or(LOST_AFTER)
    }

    /// From the last proof of life of its host to the end of an exclusive copy.
    pub fn stop_on_client_after(&self) -> Span {
        self.deploy.disconnect.stop_on_client_after.unwrap_or(STOP_ON_CLIENT_AFTER)
    }

    /// Between leaving the names and SIGTERM, where names may be cached for `ttl`.
    pub fn stop_delay(&self, ttl: Span) -> Span {
        self.deploy.stop_delay.unwrap_or(Span(ttl.0 + STOP_DELAY_MARGIN.0))
    }

    /// Time to stop before a kill.
    pub fn stop_grace(&self) -> Span {
        self.template.stop_grace_period.unwrap_or(STOP_GRACE)
    }

    /// The networks of a copy of the newest template.
    pub fn networks(&self) -> Vec<NetworkName> {
        self.template.networks()
    }
}

impl Template {
    /// The networks of a copy: those written, or `default`; none at all with a `network_mode`.
    pub fn networks(&self) -> Vec<NetworkName> {
        if self.network_mode.is_some() {
            Vec::new()
        } else if self.networks.is_empty() {
            "default".parse().into_iter().collect()
        } else {
            self.networks.keys().cloned().collect()
        }
    }
}
