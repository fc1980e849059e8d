//! What the healthcheck controller decides: which documents are accepted ([`admission`]), whom a check
//! asks ([`target`]), when ([`board`]), and what the answers amount to ([`verdict`]).

pub mod admission;
pub mod board;
pub mod target;
pub mod verdict;
