//! The Docker engine: the trait that controllers call, its adapter to real engines, and its twin in
//! memory. Both pass one suite.

pub mod auth;
pub mod docker;
pub mod engine;
pub mod fake;
pub mod inside;
pub mod reference;
pub mod turns;
pub mod types;

pub use docker::Docker;
pub use engine::{Engine, EngineError, Events};
pub use fake::FakeEngine;
pub use inside::{Inside, Lines, Piece, Running};
pub use turns::Turns;
pub use types::{
    Deadlines, EXEC_OUTPUT, EngineEvent, EngineInfo, ExecOutput, Image, Network, NetworkCreate,
    NetworkSubnet, RegistryAuth, Volume,
};
