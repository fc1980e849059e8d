//! The documents, keys, names and records of evenkeel: pure data, no I/O.
//!
//! Two vocabularies live here. *Documents* are what people write ([`service`], [`network`],
//! [`healthcheck`], [`host`]), read from YAML or JSON text by [`text`]. *Records* are what controllers
//! write for each other ([`record`]), always JSON. [`key`] is the only place that knows how either is
//! named in the store.

pub mod access;
pub mod change;
pub mod healthcheck;
pub mod host;
pub mod key;
pub mod local;
pub mod meta;
pub mod name;
pub mod network;
pub mod quantity;
pub mod recall;
pub mod record;
pub mod service;
pub mod session;
pub mod text;
pub mod user;
