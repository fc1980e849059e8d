//! What a command asked for, and how long it stays for the answer: until all of it is so with `--wait`, else until a
//! controller has looked at it, so that what is shown next is not of before.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{ConditionType, Rollout, Status};
use evenkeel_runtime::store::Store;
use tokio::time::{Instant, sleep};

use super::{SLOW, until_or};
use crate::failure::Failure;
use crate::{snapshot, words};

/// Whether it is waited for, and how long.
#[derive(Debug, Args)]
pub struct Waiting {
    /// Until it is so: every copy ready, and the names leading to it; exit code 3 if that fails, 4 if time runs out
    #[arg(long)]
    wait: bool,
    /// At most so long
    #[arg(long, default_value = "10m", requires = "wait")]
    timeout: Span,
}

/// What of an object was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub object: ObjectRef,
    /// The revision of its document that is meant; 0: whichever there is.
    pub revision: i64,
    /// Of a service: how its rollout must stand.
    pub rollout: Wanted,
}

/// How the rollout of a service must stand for an answer to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All copies are of the document's own template.
    Newest,
    /// It ended well, also where a person chose another template.
    Well,
    /// It stands, however: the template is not what was asked for.
    AtRest,
}

impl Asked {
    /// That a document of this revision is carried out.
    pub fn document(object: ObjectRef, revision: i64) -> Self {
        Self { object, revision, rollout: if revision > 0 { Wanted::Newest } else { Wanted::Well } }
    }

    /// That what was said about a rollout is carried out.
    pub fn word(id: ServiceId) -> Self {
        Self { object: ObjectRef::Service(id), revision: 0, rollout: Wanted::Well }
    }
}

/// How long a command stays that does not wait: a leader that is there looks at once.
const GLANCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(30);

impl Waiting {
    /// How long it is waited for; `None`: not at all.
    pub fn patience(&self) -> Option<Duration> {
        self.wait.then_some(self.timeout.0)
    }

    /// Waits as was asked. Without `--wait` only for the first look of a controller, and it says what that found in
    /// the way.
    ///
    /// # Errors
    /// One of them fails (exit code 3), the time runs out (exit code 4), or the store does not answer.
    pub async fn upon(&self, store: &Arc<dyn Store>, asked: &[Asked]) -> Result<(), Failure> {
        match self.patience() {
            // It has been written: whoever waits in vain need not ask for it again.
            Some(patience) => {
                until_or(store, asked, patience, &format!("{SLOW}; what was asked for is stored")).await
            }
            None => glance(store, asked).await,
        }
    }
}

/// Stays until a controller has looked at all of it, or for a moment; says what that found in the way.
///
/// # Errors
/// The store does not answer.
pub async fn glance(store: &Arc<dyn Store>, asked: &[Asked]) -> Result<(), Failure> {
    let end = Instant::now() + GLANCE;
    for asked in asked {
        while !seen(store, asked).await? {
            if Instant::now() >= end {
                eprintln!(
                    "note: no controller has looked at it yet; `evenkeel status` says whether one leads"
                );
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }
    for asked in asked.iter().filter(|asked| asked.revision > 0) {
        let status = snapshot::get::<Status>(store, &Key::Status(asked.object.clone())).await?;
        let Some(status) = status.map(|found| found.value) else { continue };
        let refused = status.condition(ConditionType::Valid).filter(|condition| !condition.status);
        let why = refused.map(|condition| condition.message.clone()).or_else(|| words::hindrance(&status));
        if let Some(why) = why {
            eprintln!("warning: {}: {why}", asked.object);
        }
    }
    Ok(())
}

/// Whether a controller has looked at it.
async fn seen(store: &Arc<dyn Store>, asked: &Asked) -> Result<bool, Failure> {
    if asked.revision > 0 {
        let status = snapshot::get::<Status>(store, &Key::Status(asked.object.clone())).await?;
        return Ok(status.is_some_and(|status| status.value.observed_revision >= asked.revision));
    }
    let ObjectRef::Service(id) = &asked.object else { return Ok(true) };
    let word = store.get(&Key::Pin(id.clone())).await?.0.map(|kv| kv.mod_revision);
    let rollout = snapshot::get::<Rollout>(store, &Key::Rollout(id.clone())).await?;
    Ok(rollout.is_none_or(|rollout| rollout.value.resumed == word))
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::TxnBuilder;

    use super::*;

    async fn put(store: &Arc<dyn Store>, key: &str, value: &str) -> i64 {
        let txn = TxnBuilder::new().put(&key.parse::<Key>().unwrap(), value.to_owned());
        store.commit(&txn.build().unwrap()).await.unwrap().header.revision
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_stays_until_a_controller_has_looked_and_no_longer_than_a_moment() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let id: ServiceId = "shop/web".parse().unwrap();
        let stays = Waiting { wait: false, timeout: Span::seconds(600) };
        let took = async |asked: &Asked| {
            let begun = Instant::now();
            stays.upon(&store, std::slice::from_ref(asked)).await.unwrap();
            begun.elapsed()
        };
        let document = Asked::document(ObjectRef::Service(id.clone()), 7);
        let status = |revision: i64| format!(r#"{{"observed_revision":{revision},"conditions":[]}}"#);
        for (said, glance) in [(None, true), (Some(6), true), (Some(7), false), (Some(8), false)] {
            if let Some(said) = said {
                put(&store, "status/services/shop/web", &status(said)).await;
            }
            assert_eq!(took(&document).await >= GLANCE, glance, "{said:?}");
        }
        let word = Asked::word(id);
        assert!(took(&word).await < GLANCE, "there is no rollout to be told of it");
        put(&store, "rollouts/shop/web", r#"{"seq":3}"#).await;
        let pin = put(&store, "pins/shop/web", r#"{"pause":true}"#).await;
        assert!(took(&word).await >= GLANCE);
        put(&store, "rollouts/shop/web", &format!(r#"{{"seq":3,"resumed":{pin}}}"#)).await;
        assert!(took(&word).await < GLANCE);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_slow_etcd_only_who_wrote_something_hears_that_it_is_stored() {
        let memory = MemoryStore::new(1);
        memory.set_down(true);
        let store: Arc<dyn Store> = Arc::new(memory);
        let asked = [Asked::word("shop/web".parse().unwrap())];
        let waits = Waiting { wait: true, timeout: Span::seconds(20) };
        let after_a_write = waits.upon(&store, &asked).await.unwrap_err();
        let wait = super::super::until(&store, &asked, Duration::from_secs(20)).await.unwrap_err();
        assert_eq!((after_a_write.code, wait.code), (4, 4));
        assert!(after_a_write.message.contains("is stored"), "{after_a_write}");
        assert!(!wait.message.contains("stored"), "{wait}");
    }
}
