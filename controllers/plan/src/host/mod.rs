//! What the host controller decides: how a machine registers under a lease, what it says of itself, and
//! the document that it makes of itself at its first start.

pub mod document;
pub mod facts;
pub mod join;
pub mod register;
