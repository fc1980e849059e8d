//! What `deploy.exclusive` goes together with.

use std::time::Duration;

use crate::quantity::Span;
use crate::record::ALIVE_TTL;
use crate::service::{Mode, ServiceSpec, UpdateOrder};

use super::super::error::Fault;
use super::Result;

/// A copy that ends sooner than a lease would end at every hiccup of the store.
const LEAST: Span = Span(Duration::from_secs(ALIVE_TTL.as_secs() + 1));
const MOST: Span = Span::seconds(3600);

/// Checks it.
pub(super) fn check(spec: &ServiceSpec) -> Result<()> {
    let after = spec.deploy.disconnect.stop_on_client_after;
    if !spec.template.exclusive {
        return match after {
            None => Ok(()),
            Some(_) => Err(Fault::on(
                ["deploy", "disconnect", "stop_on_client_after"],
                "only exclusive copies are stopped when their host is cut off; write `deploy.exclusive: true` beside \
                 it, or leave it out",
            )),
        };
    }
    if spec.mode() == Mode::Global {
        return Err(Fault::on(
            ["deploy", "exclusive"],
            "in global mode a slot never leaves its host, so there is nothing to exclude; leave `exclusive` out, or \
             write `mode: replicated`",
        ));
    }
    if spec.order() == UpdateOrder::StartFirst {
        return Err(Fault::on(
            ["deploy", "update_config", "order"],
            "`start-first` means two copies for a while, and `exclusive` never two; write `order: stop-first`",
        ));
    }
    if let Some(after) = after.filter(|after| !(LEAST..=MOST).contains(after)) {
        return Err(Fault::on(
            ["deploy", "disconnect", "stop_on_client_after"],
            format!(
                "{after} is out of range: from {LEAST}, which is more than the life of a host's lease, to {MOST}"
            ),
        ));
    }
    Ok(())
}
