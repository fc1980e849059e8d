//! Which statuses may wait: one that changes again and again is written now and then, and one that answers a person at once.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::Rollout;
use evenkeel_plan::service::{Plan, StatusWrite, Write};

use super::Reign;

/// A status is written at most that often, except as an answer to a person.
pub(super) const STATUS_EVERY: Duration = Duration::from_secs(1);

impl Reign {
    /// When a status may be written that was written a moment ago and answers nobody: what a person just said is
    /// answered at once, in the transaction that heeds it, so that what they look at next is not of before.
    pub(super) fn too_soon(&self, key: &Key, plan: &Plan) -> Option<Duration> {
        let news = plan.batch.writes.iter().any(|(key, write)| match (key, write) {
            (Key::Rollout(id), Write::Rollout(rollout)) => self.is_word_heeded(id, rollout),
            _ => false,
        });
        let news = news || plan.status.as_ref().is_some_and(|status| self.is_document_new(status));
        let at = *self.told.get(key)? + STATUS_EVERY;
        (!news && at > self.env.now()).then_some(at)
    }

    /// Whether a rollout is about to heed what somebody said.
    fn is_word_heeded(&self, id: &ServiceId, rollout: &Rollout) -> bool {
        let known = self.cache.world.services.get(id).and_then(|service| service.rollout.as_ref());
        known.is_none_or(|known| known.value.resumed != rollout.resumed)
    }

    /// Whether a status tells of a document, accepted or refused, that it did not know.
    fn is_document_new(&self, status: &StatusWrite) -> bool {
        let known = match &status.key {
            Key::Status(ObjectRef::Service(id)) => {
                self.cache.world.services.get(id).and_then(|service| service.status.as_ref())
            }
            Key::Status(ObjectRef::Host(name)) => {
                self.cache.world.hosts.get(name).and_then(|host| host.status.as_ref())
            }
            _ => None,
        };
        known.is_some_and(|known| known.value.observed_revision != status.status.observed_revision)
    }
}
