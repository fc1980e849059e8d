//! Telling hosts where etcd is now, after its members have changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_cluster::layout;
use evenkeel_runtime::store::Store;

use super::work::REACHED;
use crate::care::{Care, stopped};
use crate::cluster::answers::member_answers;
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::snapshot;

/// What a host was told last, if its controllers have started with it.
const TOLD: &str =
    "cd /etc/evenkeel && { cmp -s cluster.env cluster.env.started && cat cluster.env || true; }";

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
/// what they knew, and are returned.
///
/// # Errors
/// etcd does not answer, or a host is not well afterwards: those after it keep what they knew.
pub async fn tell(
    book: &Book,
    store: &Arc<dyn Store>,
    how: How,
    but: &BTreeSet<HostName>,
) -> Result<Vec<HostName>, Failure> {
    // Members that have just come or gone may have to find who leads.
    let hosts =
        poll(SETTLES_WITHIN, async || Ok(snapshot::hosts(store).await.map_or_else(Step::NotYet, Step::Done)))
            .await?;
    let watch = match how {
        How::Carefully(watch) => watch,
        How::AtOnce => Span::seconds(0),
    };
    let care = Care::begin(store, watch).await?;
    let mut left_out = Vec::new();
    for host in care.order(hosts.accepted.keys().filter(|host| !but.contains(*host))).await? {
        let address = hosts.accepted[host].spec.address;
        let place = Place::of(address, None);
        let ticket = book.ticket(host, address, true)?;
        let told = async {
            // What fails after this is not for want of a way there.
            place.asks(REACHED).await.map_err(Trouble::Away)?;
            if place.asks(TOLD).await.map_err(Trouble::Ill)? == layout::cluster_env(&ticket).trim() {
                return Ok(false);
            }
            place.delivers(ticket).await.map_err(Trouble::Ill)?;
            member_answers(book, host).await.map_err(Trouble::Ill)?;
            Ok(true)
        };
        // One that was not there before need not be well now; one that knew it may have been left ill.
        let watched = how != How::AtOnce && hosts.alive.contains_key(host);
        match goes_on(watched, told.await).map_err(|failure| stopped(host, failure))? {
            Err(failure) => {
                say!(
                    "{host} does not know of it yet: {failure}\n  later: evenkeel host add {address} --name {host}"
                );
                left_out.push(host.clone());
            }
            Ok(news) => {
                if watched {
                    care.well(host, &place, None).await?;
                }
                match (news, watched) {
                    (true, true) => say!("{host} knows, and is well"),
                    (true, false) => say!("{host} knows"),
                    (false, _) => {}
                }
            }
        }
    }
    Ok(left_out)
}

/// Why a host was not told.
#[derive(Debug)]
enum Trouble {
    /// It is not reached.
    Away(Failure),
    /// It could not do its part.
    Ill(Failure),
}

/// Whether the next host may be told: one that is away is left out, and one that is `watched` and ill ends it.
fn goes_on(watched: bool, told: Result<bool, Trouble>) -> Result<Result<bool, Failure>, Failure> {
    match told {
        Ok(news) => Ok(Ok(news)),
        Err(Trouble::Away(failure)) => Ok(Err(failure)),
        Err(Trouble::Ill(failure)) if !watched => Ok(Err(failure)),
        Err(Trouble::Ill(failure)) => Err(failure),
    }
}

/// The end of a command that has left hosts out.
///
/// # Errors
/// There are such.
pub fn all_told(left_out: &[HostName]) -> Result<(), Failure> {
    if left_out.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    Err(Failure::not_converged(format!(
        "it is done, but {} not told where etcd is now: see above",
        if names.len() == 1 { format!("{} was", names[0]) } else { format!("{} were", names.join(", ")) }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_is_away_is_left_out() {
        let failure = || Failure::new("x");
        for (watched, told, expected) in [
            (true, Ok(true), "told"),
            (true, Ok(false), "told"),
            (true, Err(Trouble::Away(failure())), "left out"),
            (true, Err(Trouble::Ill(failure())), "ends"),
            (false, Err(Trouble::Away(failure())), "left out"),
            (false, Err(Trouble::Ill(failure())), "left out"),
        ] {
            let what = format!("{watched} {told:?}");
            let found = match goes_on(watched, told) {
                Ok(Ok(_)) => "told",
                Ok(Err(_)) => "left out",
                Err(_) => "ends",
            };
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn whoever_was_left_out_is_named_with_an_exit_code_of_its_own() {
        assert!(all_told(&[]).is_ok());
        let failure = all_told(&["h2".parse().unwrap(), "h3".parse().unwrap()]).unwrap_err();
        assert!(failure.code == 3 && failure.message.contains("h2, h3 were"), "{failure}");
    }

    #[test]
    fn what_a_host_is_asked_names_where_it_keeps_what_it_started_with() {
        let (folder, file) = layout::STARTED_WITH.rsplit_once('/').unwrap();
        assert!(TOLD.contains(&format!("cd {folder} ")) && TOLD.contains(file), "{TOLD}");
    }
}
