//! The pages that have whole examples, typed as they stand, and each held to what it says by real requests.

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, eventually};

mod compose;
mod database;
mod desk;
#[path = "../../../cli/src/texts/fences.rs"]
mod fences;
mod primary;
mod web;

const PAGE: &str = "docs/recipes.md";

/// The only copy of a service, and its host.
fn the_copy(lab: &Lab, service: &str) -> (String, Container) {
    eventually(30, &format!("one copy of {service}"), || match <[_; 1]>::try_from(lab.copies(service)) {
        Ok([one]) => Ok(one),
        Err(other) => Err(format!("{} run", other.len())),
    })
}
