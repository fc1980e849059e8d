//! Why a name leads where it leads, in words for people.

use std::sync::Arc;

use evenkeel_api::record::Endpoint;

use super::build::View;
use super::choose::{Rank, Standing};
use super::served::{Copy, Ground};

/// A line for each copy: what becomes of it, and why. What made it not ready is known to those who decided that,
/// and is not repeated here.
pub(super) fn why(views: &[View], copies: &[Copy<'_>], ground: &Ground) -> Vec<Arc<str>> {
    let line = |(standing, endpoint): &Copy<'_>| {
        let service = &endpoint.id.service;
        let what = fate(*standing, answers(views, endpoint, ground));
        let (slot, host) = (&endpoint.slot, &endpoint.host);
        Arc::from(format!("{slot}.{}.{} on {host}: {what}", service.name, service.namespace))
    };
    copies.iter().map(line).collect()
}

/// Whether the copy is among those that the name leads to.
fn answers(views: &[View], endpoint: &Endpoint, ground: &Ground) -> bool {
    views.iter().any(|view| {
        let address = ground.address(view.network.as_ref(), endpoint);
        address.is_some_and(|address| view.addresses.binary_search(&address).is_ok())
    })
}

fn fate(standing: Standing, answers: bool) -> &'static str {
    let (rank, wanted) = match standing {
        Standing::Away => return "left out, it does not run",
        Standing::Answer(rank) => (rank, true),
        Standing::Unwanted(rank) => (rank, false),
    };
    match (rank, answers && wanted) {
        (Rank::Ready, true) => "answers",
        (Rank::LastResort, true) => "answers, though not ready: no copy is",
        (Rank::ReadyOnGone, true) => "answers, though its host is silent: no other copy is ready",
        (Rank::LastResortOnGone, true) => {
            "answers, though not ready and its host silent: there is no better one"
        }
        (Rank::Ready, false) => "left out, it has no address here",
        (Rank::LastResort, false) => "left out, not ready",
        (Rank::ReadyOnGone, false) => "left out, its host is silent",
        (Rank::LastResortOnGone, false) => "left out, not ready and its host is silent",
    }
}
