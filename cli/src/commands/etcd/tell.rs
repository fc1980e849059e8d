//! Telling hosts where etcd is now, after its members have changed.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_cluster::layout;
use evenkeel_runtime::store::Store;

use crate::care::Care;
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::snapshot;

/// What a host was told last.
const TOLD: &str = "cat /etc/evenkeel/cluster.env";

/// How long etcd may take until it answers again.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// How hosts are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// One after the other: their controllers begin anew with it, and each must be well for so long before the next one.
    Carefully(Span),
    /// All of them, also while nothing is well.
    AtOnce,
}

/// Tells all hosts that do not know it yet, `but` for one that will not come back; those that cannot be reached keep
/// what they knew.
///
/// # Errors
/// etcd does not answer, or a host is not well afterwards: those after it keep what they knew.
pub async fn tell(
    book: &Book,
    store: &Arc<dyn Store>,
    how: How,
    but: Option<&HostName>,
) -> Result<(), Failure> {
    // Members that have just come or gone may have to find who leads.
    let hosts =
        poll(SETTLES_WITHIN, async || Ok(snapshot::hosts(store).await.map_or_else(Step::NotYet, Step::Done)))
            .await?;
    let watch = match how {
        How::Carefully(watch) => watch,
        How::AtOnce => Span::seconds(0),
    };
    let care = Care::begin(store, watch).await?;
    for host in care.order(hosts.accepted.keys().filter(|host| Some(*host) != but)).await? {
        let address = hosts.accepted[host].spec.address;
        let place = Place::of(address, None);
        let ticket = book.ticket(host, address, true)?;
        let told = match place.asks(TOLD).await {
            Ok(told) if told == layout::cluster_env(&ticket).trim() => continue,
            Ok(_) => place.delivers(ticket).await,
            Err(failure) => Err(failure),
        };
        match told {
            Err(failure) => say!(
                "{host} does not know of it yet: {failure}\n  later: evenkeel host add {address} --name {host}"
            ),
            // One that was not there before need not be now.
            Ok(()) if how != How::AtOnce && hosts.alive.contains_key(host) => {
                care.well(host, &place, None).await?;
                say!("{host} knows, and is well");
            }
            Ok(()) => say!("{host} knows"),
        }
    }
    Ok(())
}
