//! What hosts' policies had refused before anybody waited. A policy may have been changed since, of which the leader learns by its
//! next try: so long that word is old.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::record::{ConditionType, Status};
use evenkeel_plan::service::REFUSED;
use evenkeel_runtime::mirror::Mirror;
use tokio::time::Instant;

use super::{Asked, Progress};

/// A leader tries a slot again after a minute at most, and a host says within seconds what becomes of it.
const TRIED_WITHIN: Duration = Duration::from_secs(75);

/// See the module.
pub struct Before {
    known: BTreeMap<ObjectRef, i64>,
    tried: Instant,
}

impl Before {
    /// What is refused now.
    pub fn new(mirror: &Mirror, asked: &[Asked]) -> Self {
        let refused =
            asked.iter().filter_map(|asked| Some((asked.object.clone(), refused(mirror, &asked.object)?)));
        Self { known: refused.collect(), tried: Instant::now() + TRIED_WITHIN }
    }

    /// What was found, unless it is that old word.
    pub fn correct(&self, mirror: &Mirror, asked: &Asked, found: Progress) -> Progress {
        let object = &asked.object;
        let is_old = || {
            let known = self.known.get(object);
            known.is_some() && known.copied() == refused(mirror, object) && Instant::now() < self.tried
        };
        match found {
            Progress::Failed(why) if is_old() => Progress::Pending(why),
            found => found,
        }
    }

    /// When to look again, also if nothing changes until then.
    pub fn due(&self, end: Instant) -> Instant {
        let waits = !self.known.is_empty() && Instant::now() < self.tried;
        if waits { self.tried.min(end) } else { end }
    }
}

/// Of which document the leader says that no host's policy lets it run.
fn refused(mirror: &Mirror, object: &ObjectRef) -> Option<i64> {
    let status = mirror.json::<Status>(&Key::Status(object.clone()))?.value;
    let degraded = status.condition(ConditionType::Degraded)?;
    (degraded.status && degraded.reason == REFUSED).then_some(status.observed_revision)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::{Store, TxnBuilder};

    use super::super::until;
    use super::*;

    async fn say(store: &Arc<dyn Store>, revision: i64, reason: &str) {
        let degraded = serde_json::json!({"type": "Degraded", "status": true, "reason": reason, "message": "m", "since": 5});
        let copies = serde_json::json!({"desired": 1, "running": 0, "ready": 0, "updated": 1});
        let status =
            serde_json::json!({"observed_revision": revision, "conditions": [degraded], "copies": copies});
        let key: Key = "status/services/shop/web".parse().unwrap();
        store.commit(&TxnBuilder::new().put(&key, status.to_string()).build().unwrap()).await.unwrap();
    }

    /// How a wait ends, and after how many seconds, that finds `before` of revision 7, and `later` of 8 after ten.
    async fn ends(before: &str, later: Option<&str>) -> (u8, u64) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        say(&store, 7, before).await;
        let asked = [Asked::word("shop/web".parse().unwrap())];
        let begun = Instant::now();
        let waits = until(&store, &asked, Duration::from_secs(200));
        let tells = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            if let Some(later) = later {
                say(&store, 8, later).await;
            }
        };
        let (ended, ()) = tokio::join!(waits, tells);
        (ended.unwrap_err().code, begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_before_is_tried_once_more_and_what_is_refused_now_ends_a_wait() {
        assert_eq!(ends(REFUSED, None).await, (3, 75));
        assert_eq!(ends(REFUSED, Some(REFUSED)).await, (3, 10));
        assert_eq!(ends("CopyFailed", Some(REFUSED)).await, (3, 10));
        assert_eq!(ends(REFUSED, Some("CopyFailed")).await, (4, 200));
    }
}
