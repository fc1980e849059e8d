//! One file a command.

pub mod apply;
pub mod availability;
pub mod backup;
pub mod brake;
pub mod controller;
pub mod delete;
pub mod describe;
pub mod etcd;
pub mod events;
pub mod get;
pub mod host;
pub mod hosts;
pub mod import;
pub mod init;
pub mod leave;
pub mod pins;
pub mod plan;
pub mod recover;
pub mod restore;
pub mod rollout;
pub mod schema;
pub mod status;
pub mod trouble;
pub mod upgrade;
pub mod user;
pub mod validate;
