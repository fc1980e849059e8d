//! Scripts of the host bundle on a machine whose programs only note what they are asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod etcd;
mod host;
mod machine;
mod restore;
