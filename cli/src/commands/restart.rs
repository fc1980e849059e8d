//! `evenkeel restart`: new copies of a service in place of all that there are, by the rollout's own rules.

use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Cluster, LEVEL, Phase, Pin};
use evenkeel_runtime::store::Store;

use super::pins::Known;
use super::rollout::Which;
use crate::failure::Failure;
use crate::output::say;
use crate::snapshot;
use crate::wait::{Asked, Waiting};

/// Which service.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel restart shop/web
  evenkeel restart shop/web --wait

Copies are exchanged as for a new template: so many at once as update_config.parallelism says, in its order, each watched,
and no further when one fails. They are of the same template and the very same image. `evenkeel rollout pause` holds it.")]
pub struct Restart {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    waiting: Waiting,
}

/// The level of clusters whose leaders know what it means.
const SINCE: u32 = 2;

impl Restart {
    /// Says that it is wanted.
    ///
    /// # Errors
    /// There is no such service, its rollout stands still, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.which.id()?;
        let cluster = snapshot::get::<Cluster>(store, &Key::Cluster).await?;
        let level = cluster.map_or(LEVEL, |found| found.value.level);
        if level < SINCE {
            return Err(Failure::new(
                "leaders of before 0.2.0 cannot read that a restart is wanted, and this cluster may still go back to them: once \
                 it shall not, say `evenkeel upgrade --finish`",
            ));
        }
        let known = Known::read(store, &id).await?;
        known.put(store, &wanted(&known, &id)?).await?;
        say!("Service {id}: all copies are exchanged for new ones");
        if self.waiting.patience().is_none() {
            say!("follow it with `evenkeel rollout status {id} --wait`");
        }
        self.waiting.upon(store, &[Asked::word(id)]).await
    }
}

/// What is to be said of the rollout: all copies that there are now, by the last number that was given to one.
fn wanted(known: &Known, id: &ServiceId) -> Result<Pin, Failure> {
    if known.pin.pause {
        return Err(Failure::new(format!(
            "the rollout of Service {id} is paused by a person; let it go on first, with `evenkeel rollout resume {id}`"
        )));
    }
    if let Phase::Paused { why } = &known.rollout.phase {
        return Err(Failure::new(format!(
            "the rollout of Service {id} stands still: {why}\n  put a better document, or try again with `evenkeel \
             rollout resume {id}`"
        )));
    }
    Ok(Pin { restart: Some(known.rollout.seq), resume: None, retry: None, ..known.pin.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::record::Rollout;

    #[test]
    fn all_copies_up_to_the_last_are_meant_and_what_stands_still_is_not_restarted() {
        let id: ServiceId = "shop/web".parse().unwrap();
        let known =
            |phase, pin| Known::of(id.clone(), Rollout { seq: 907, phase, ..Rollout::default() }, pin);
        let pinned = Pin { template: Some(790), of: Some(812), retry: Some(3), ..Pin::default() };
        let said = wanted(&known(Phase::Rolling, pinned.clone()), &id).unwrap();
        assert_eq!(said, Pin { restart: Some(907), retry: None, ..pinned });
        let paused = Pin { pause: true, ..Pin::default() };
        let failed = Phase::Paused { why: "shop.web.1.n failed".to_owned() };
        for (known, why) in [
            (known(Phase::Done, paused), "by a person"),
            (known(failed, Pin::default()), "shop.web.1.n failed"),
        ] {
            let said = wanted(&known, &id).unwrap_err().message;
            assert!(said.contains(why) && said.contains("rollout resume shop/web"), "{said}");
        }
    }
}
