//! The whole cluster in numbers, as its leader sees it.

use std::collections::BTreeMap;

use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_plan::service::Lack;
/// The whole cluster in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Its services, but for those that are being taken down.
    pub services: BTreeMap<ServiceId, ServiceTally>,
    /// Its hosts.
    pub hosts: BTreeMap<HostName, HostState>,
    /// Hosts that are gone and whose copies the brake keeps where they are.
    pub held_hosts: usize,
    /// Objects that the brake keeps although their documents are gone.
    pub held_deletions: usize,
}

/// One service in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceTally {
    /// Its newest document is valid.
    pub valid: bool,
    /// Copies that there shall be.
    pub wanted: u32,
    /// Those that run.
    pub running: u32,
    /// Those that are in the names.
    pub ready: u32,
    /// Copies that nobody takes, by why.
    pub pending: BTreeMap<Lack, u32>,
    /// How its rollout is.
    pub rollout: RolloutState,
    /// Its newest template is rejected.
    pub rejected: bool,
}

/// How the rollout of a service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RolloutState {
    /// All copies are as they shall be.
    #[default]
    Done,
    /// Copies are being exchanged.
    Rolling,
    /// It stands still, for a person to look at.
    Paused,
    /// A person lets nothing be exchanged.
    Held,
}

impl RolloutState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Rolling => "rolling",
            Self::Paused => "paused",
            Self::Held => "held",
        }
    }
}

/// How a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostState {
    /// It is there, and takes copies.
    Active,
    /// It is there, and takes no new ones.
    Paused,
    /// It is there, and its copies move elsewhere.
    Drained,
    /// It does not renew its lease.
    Gone,
}

impl HostState {
    pub(crate) const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Drained, Self::Gone];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Drained => "drained",
            Self::Gone => "gone",
        }
    }
}
