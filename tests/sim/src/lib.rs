//! Whole clusters, with their real controllers, run from one seed on simulated time.

pub mod act;
pub mod cases;
pub mod chance;
pub mod cluster;
pub mod documents;
pub mod host;
pub mod judge;
pub mod life;
pub mod look;
pub mod names;
pub mod pins;
pub mod rejected;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod sick;
pub mod soak;
pub mod stored;
pub mod timeline;
pub mod wire;
