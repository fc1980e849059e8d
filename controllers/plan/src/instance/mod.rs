//! What a host does for each of its instances: [`decide::decide`] gives the next step from all that is
//! known; the rest of the folder is what that needs.

pub mod book;
pub mod container;
pub mod decide;
pub mod memory;
pub mod policy;
pub mod report;
pub mod resolv;
pub mod restart;
pub mod spec;

#[cfg(test)]
mod tests;
