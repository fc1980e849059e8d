//! One driver a controller. Each runs the same five rooms in the same order: validate, observe, plan,
//! execute, report. They never call each other: what one learns reaches another as data.

pub mod dns;
pub mod healthcheck;
pub mod host;
pub mod instance;
pub mod network;
pub mod service;
pub mod watchdog;
