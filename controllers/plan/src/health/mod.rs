//! What the healthcheck controller decides: which documents are accepted ([`admission`]), whom a check
//! asks ([`target`]), when ([`board`]), what the answers amount to ([`verdict`]), and what of that the store
//! must be told ([`report`]).

pub mod admission;
pub mod board;
pub mod report;
pub mod target;
pub mod verdict;
