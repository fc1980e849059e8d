//! One file a command.

pub mod apply;
pub mod brake;
pub mod controller;
pub mod delete;
pub mod describe;
pub mod events;
pub mod get;
pub mod hosts;
pub mod import;
pub mod pins;
pub mod plan;
pub mod recover;
pub mod rollout;
pub mod schema;
pub mod status;
pub mod trouble;
pub mod validate;
