//! The pure decisions of every controller. No clock, no chance, no I/O: what a decision needs comes in as
//! an argument, and what it decides comes out as data.

pub mod dns;
mod fnv;
pub mod health;
pub mod host;
pub mod instance;
pub mod network;
pub mod service;
pub mod watchdog;
