//! One driver a controller. Each runs the same five rooms in the same order: validate, observe, plan,
//! execute, report. They never call each other: what one learns reaches another as data. Beside them stands
//! what a person does about a store that went back: [`recover`].

pub mod dns;
pub mod healthcheck;
pub mod host;
pub mod instance;
pub mod network;
pub mod recover;
pub mod service;
pub mod watchdog;
