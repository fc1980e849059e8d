//! How copies of services live: admission, placement, rollout, failover, endpoints, status.
//!
//! [`Memory::observe`] and [`Memory::observe_service`] take note of what is, and since when;
//! [`plan_service`], [`plan_host`] and [`plan_brakes`] say what to write. Each plan is one consistent batch;
//! where it says `more`, the next follows when it is done.

mod admit;
mod batch;
mod crowded;
mod deadline;
mod deletions;
mod digests;
mod draft;
mod endpoints;
mod etcd;
mod exclusive;
mod failover;
mod filter;
mod flapping;
mod lack;
mod ledger;
mod memory;
mod model;
mod pairs;
mod pins;
mod place;
mod plan;
mod ready;
mod refusals;
mod refused;
mod rehearsal;
mod remove;
mod restarts;
mod rollback;
mod rollout;
mod slots;
mod status;
mod survey;
mod world;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Happening, MAX_BATCH, Plan, StatusWrite, Write};
pub use etcd::{UNKNOWN, no_exclusive};
pub use exclusive::STOPPED_AFTER;
pub use failover::{BRAKE_WINDOW, SUSPICION};
pub use lack::Lack;
pub use ledger::Ledger;
pub use memory::{Memory, ServiceMemory};
pub use model::{GuardBroken, Model};
pub use place::Places;
pub use plan::{plan_brakes, plan_host, plan_service};
pub use refusals::{Refusal, Refusals};
pub use rehearsal::{Act, Lacks, Rehearsal};
pub use status::{NO_ROOM, REFUSED};
pub use survey::{Room, Survey, Unmet, room, survey};
pub use world::{At, Check, Copy, Document, Host, Network, Parsed, Service, World};
