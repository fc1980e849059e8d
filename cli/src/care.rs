//! Hosts whose controllers begin anew, one after the other: each is watched until it is as well as it was, and the first
//! one that is not ends it for those after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::Leader;
use evenkeel_runtime::store::Store;
use tokio::time::Instant;

use crate::cluster::deliver::Place;
use crate::commands::status;
use crate::failure::Failure;
use crate::polling::{Step, poll_every};
use crate::snapshot;

/// How long a host is watched unless a person says otherwise: longer than its lease, which the controllers of before renewed.
pub const WATCH: Span = Span::seconds(15);
/// How long the controllers of a host may take until all is as it was.
const WELL_WITHIN: Duration = Duration::from_secs(90);
/// Between two looks: each asks the host by ssh, and the store for everything.
const PAUSE: Duration = Duration::from_secs(2);
/// What the host's containers of controllers are.
const RUNS: &str = "PATH=$PATH:/usr/local/sbin evenkeel-host status";

/// See the module.
#[derive(Debug)]
pub struct Care {
    store: Arc<dyn Store>,
    /// What was wrong before.
    known: BTreeSet<String>,
    watch: Duration,
}

impl Care {
    /// From how everything is now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn begin(store: &Arc<dyn Store>, watch: Span) -> Result<Self, Failure> {
        Ok(Self { store: store.clone(), known: troubles(store).await?, watch: watch.0 })
    }

    /// Waits until the host was as well as before for a while without a break: another one may have to lead first.
    /// `evenkeel`: the version that it must say.
    ///
    /// # Errors
    /// It is not in time: see [`stopped`].
    pub async fn well(&self, host: &HostName, place: &Place, evenkeel: Option<&str>) -> Result<(), Failure> {
        let mut known: Option<(String, Instant)> = None;
        poll_every(PAUSE, WELL_WITHIN + self.watch, async || {
            let ill = match place.asks(RUNS).await {
                Err(failure) => Some(failure),
                Ok(runs) => match &known {
                    Some((before, _)) if *before != runs => {
                        Some(Failure::not_converged(format!("its controllers ended and began again: {runs}")))
                    }
                    _ => {
                        let why = self.sick(host, evenkeel).await;
                        known.get_or_insert_with(|| (runs, Instant::now()));
                        why.unwrap_or_else(|failure| Some(failure.message)).map(Failure::not_converged)
                    }
                },
            };
            if let Some(failure) = ill {
                known = None;
                return Ok(Step::NotYet(failure));
            }
            let long_enough = known.as_ref().is_some_and(|(_, since)| since.elapsed() >= self.watch);
            Ok(Step::once(long_enough, || Failure::timed_out("it was not well for long enough")))
        })
        .await
        .map_err(|failure| stopped(host, failure))
    }

    /// What is wrong with the host, or with anything since it was exchanged.
    async fn sick(&self, host: &HostName, evenkeel: Option<&str>) -> Result<Option<String>, Failure> {
        let hosts = snapshot::hosts(&self.store).await?;
        if !hosts.alive.contains_key(host) {
            return Ok(Some("its controllers do not renew its lease".to_owned()));
        }
        let runs = hosts.facts.get(host).map(|facts| facts.evenkeel.clone()).unwrap_or_default();
        if let Some(wanted) = evenkeel.filter(|wanted| *wanted != runs) {
            return Ok(Some(format!("it says that it runs evenkeel {runs}, not {wanted}")));
        }
        Ok(troubles(&self.store).await?.into_iter().find(|what| !self.known.contains(what)))
    }

    /// In which order: those that lead come last, so that leading changes hands as seldom as can be.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn order<'a>(
        &self,
        hosts: impl Iterator<Item = &'a HostName>,
    ) -> Result<Vec<&'a HostName>, Failure> {
        let mut leaders = BTreeSet::new();
        for controller in Controller::LEADING {
            let leader = snapshot::get::<Leader>(&self.store, &Key::Leader(controller)).await?;
            leaders.extend(leader.map(|found| found.value.host));
        }
        Ok(order(hosts, &leaders))
    }
}

/// What a person does when a host is not well.
pub fn stopped(host: &HostName, failure: Failure) -> Failure {
    let Failure { code, message } = failure;
    Failure {
        code,
        message: format!(
            "{host} is not well, so the others are left as they are: {message}\n  on it, see `evenkeel-host status` and `docker \
             logs evenkeel`; done again, this goes on"
        ),
    }
}

/// Everything that is wrong, in words that stay the same while it is.
async fn troubles(store: &Arc<dyn Store>) -> Result<BTreeSet<String>, Failure> {
    Ok(status::look(store, true).await?.trouble.into_iter().map(|trouble| trouble.what).collect())
}

fn order<'a>(hosts: impl Iterator<Item = &'a HostName>, leaders: &BTreeSet<HostName>) -> Vec<&'a HostName> {
    let (last, first): (Vec<_>, Vec<_>) = hosts.partition(|host| leaders.contains(*host));
    first.into_iter().chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_lead_come_last() {
        let hosts: Vec<HostName> = ["h1", "h2", "h3"].iter().map(|name| name.parse().unwrap()).collect();
        let order = |leaders: &[usize]| {
            let leaders = leaders.iter().map(|at| hosts[*at].clone()).collect();
            order(hosts.iter(), &leaders).into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&[]), "h1 h2 h3");
        assert_eq!(order(&[0]), "h2 h3 h1");
        assert_eq!(order(&[0, 1]), "h3 h1 h2");
    }
}
