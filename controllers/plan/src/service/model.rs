//! Carrying a plan out on a world in memory: what `plan` and `simulate` commands and tests do instead of
//! writing to a store.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;

use super::batch::{Batch, Plan, Write};
use super::ledger::Ledger;
use super::memory::Memory;
use super::plan::{plan_brakes, plan_host, plan_service};
use super::world::{At, Copy, World};

/// A guard that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} has revision {found}, and the plan was made from {expected}")]
pub struct GuardBroken {
    /// The key, as the store has it.
    pub key: String,
    /// What the plan was made from.
    pub expected: i64,
    /// What is there.
    pub found: i64,
}

impl World {
    /// Do the writes of `batch` at `revision`, all or none.
    ///
    /// # Errors
    /// A guard does not hold.
    pub fn commit(&mut self, batch: &Batch, revision: i64) -> Result<(), GuardBroken> {
        for (key, expected) in &batch.guards {
            let found = self.revision_of(key);
            if found != *expected {
                return Err(GuardBroken { key: key.to_string(), expected: *expected, found });
            }
        }
        for (key, write) in &batch.writes {
            self.write(key, write, revision);
        }
        self.services.retain(|_, service| !service.is_empty());
        Ok(())
    }

    fn revision_of(&self, key: &Key) -> i64 {
        let service = |id| self.services.get(id);
        let found = match key {
            Key::Document(ObjectRef::Service(id)) => {
                service(id).and_then(|s| s.document.as_ref().map(|d| d.mod_revision))
            }
            Key::Document(ObjectRef::Host(name)) => {
                self.hosts.get(name).and_then(|h| h.document.as_ref().map(|d| d.mod_revision))
            }
            Key::Accepted(ObjectRef::Service(id)) => {
                service(id).and_then(|s| s.accepted.as_ref().map(|a| a.mod_revision))
            }
            Key::Accepted(ObjectRef::Host(name)) => {
                self.hosts.get(name).and_then(|h| h.accepted.as_ref().map(|a| a.mod_revision))
            }
            Key::Status(ObjectRef::Service(id)) => {
                service(id).and_then(|s| s.status.as_ref().map(|a| a.mod_revision))
            }
            Key::Status(ObjectRef::Host(name)) => {
                self.hosts.get(name).and_then(|h| h.status.as_ref().map(|a| a.mod_revision))
            }
            Key::Revision(id, k) => service(id).and_then(|s| s.revisions.get(k).map(|a| a.mod_revision)),
            Key::Digest(id, k) => service(id).and_then(|s| s.digests.get(k).map(|a| a.mod_revision)),
            Key::Rollout(id) => service(id).and_then(|s| s.rollout.as_ref().map(|a| a.mod_revision)),
            Key::Endpoints(id, n) => service(id).and_then(|s| s.endpoints.get(n).map(|a| a.mod_revision)),
            Key::Brakes => self.brakes.as_ref().map(|a| a.mod_revision),
            // Its revision is not kept; plans only ever demand that it is absent.
            Key::Alive(name) => self.hosts.get(name).and_then(|h| h.alive.as_ref()).map(|_| i64::MAX),
            Key::Instance(_, id) => {
                let copy = service(&id.service).and_then(|s| s.copies.get(id));
                copy.and_then(|copy| copy.record.as_ref().map(|a| a.mod_revision))
            }
            _ => None,
        };
        found.unwrap_or(0)
    }

    fn write(&mut self, key: &Key, write: &Write, revision: i64) {
        match (key, write) {
            (Key::Brakes, Write::Brakes(value)) => put(&mut self.brakes, value.clone(), revision),
            (Key::Brakes, _) => self.brakes = None,
            (Key::Accepted(ObjectRef::Host(name)) | Key::Status(ObjectRef::Host(name)), write) => {
                let host = self.hosts.entry(name.clone()).or_default();
                match (key, write) {
                    (_, Write::AcceptedHost(value)) => put(&mut host.accepted, (**value).clone(), revision),
                    (_, Write::Status(value)) => put(&mut host.status, value.clone(), revision),
                    (Key::Status(_), _) => host.status = None,
                    _ => host.accepted = None,
                }
            }
            (
                Key::Accepted(ObjectRef::Service(id))
                | Key::Status(ObjectRef::Service(id))
                | Key::Revision(id, _)
                | Key::Digest(id, _)
                | Key::Rollout(id)
                | Key::Endpoints(id, _),
                write,
            ) => {
                let service = self.services.entry(id.clone()).or_default();
                match (key, write) {
                    (_, Write::Accepted(value)) => put(&mut service.accepted, (**value).clone(), revision),
                    (_, Write::Status(value)) => put(&mut service.status, value.clone(), revision),
                    (_, Write::Rollout(value)) => put(&mut service.rollout, value.clone(), revision),
                    (Key::Revision(_, k), Write::Revision(value)) => {
                        let mut slot = service.revisions.remove(k);
                        put(&mut slot, (**value).clone(), revision);
                        service.revisions.extend(slot.map(|at| (*k, at)));
                    }
                    (Key::Endpoints(_, n), Write::Endpoints(value)) => {
                        let mut slot = service.endpoints.remove(n);
                        put(&mut slot, value.clone(), revision);
                        service.endpoints.extend(slot.map(|at| (*n, at)));
                    }
                    (Key::Accepted(_), _) => service.accepted = None,
                    (Key::Status(_), _) => service.status = None,
                    (Key::Rollout(_), _) => service.rollout = None,
                    (Key::Revision(_, k), _) => {
                        service.revisions.remove(k);
                    }
                    (Key::Digest(_, k), Write::Digest(value)) => {
                        let mut slot = service.digests.remove(k);
                        put(&mut slot, Some(value.clone()), revision);
                        service.digests.extend(slot.map(|at| (*k, at)));
                    }
                    (Key::Digest(_, k), _) => {
                        service.digests.remove(k);
                    }
                    (Key::Endpoints(_, n), _) => {
                        service.endpoints.remove(n);
                    }
                    _ => {}
                }
            }
            (Key::Instance(host, id), write) => {
                let copies = &mut self.services.entry(id.service.clone()).or_default().copies;
                match write {
                    Write::Instance(value) => {
                        let blank =
                            || Copy { host: host.clone(), record: None, observed: None, health: None };
                        put(
                            &mut copies.entry(id.clone()).or_insert_with(blank).record,
                            value.clone(),
                            revision,
                        );
                    }
                    _ => {
                        copies.remove(id);
                    }
                }
            }
            _ => {}
        }
    }
}

fn put<T>(slot: &mut Option<At<T>>, value: T, revision: i64) {
    let create_revision = slot.as_ref().map_or(revision, |known| known.create_revision);
    *slot = Some(At { value, mod_revision: revision, create_revision });
}

/// A cluster in memory that carries its plans out itself.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The world.
    pub world: World,
    /// What was measured.
    pub memory: Memory,
    /// What is taken.
    pub ledger: Ledger,
    /// The time.
    pub now: Duration,
    /// The store's revision.
    pub revision: i64,
}

/// More passes than any cluster needs: plans that never come to rest are a fault.
const PASSES: usize = 1000;

impl Model {
    /// Plan everything once and carry it out; the plans that had something to say.
    ///
    /// # Errors
    /// A plan does not hold in the world that it was made from: a fault of the planner.
    pub fn pass(&mut self) -> Result<Vec<Plan>, GuardBroken> {
        self.memory.observe(&self.world, self.now, true);
        let mut plans = vec![plan_brakes(&self.world, &self.memory, self.now)];
        self.carry_out(&mut plans)?;
        let hosts: Vec<_> = self.world.hosts.keys().cloned().collect();
        for name in hosts {
            let mut plan = vec![plan_host(&self.world, &name, &self.memory, self.now)];
            self.carry_out(&mut plan)?;
            plans.append(&mut plan);
        }
        let services: Vec<_> = self.world.services.keys().cloned().collect();
        for id in services {
            self.memory.observe_service(&self.world, &id, self.now);
            let mut plan = vec![plan_service(&self.world, &id, &self.memory, &mut self.ledger, self.now)];
            self.carry_out(&mut plan)?;
            plans.append(&mut plan);
        }
        Ok(plans)
    }

    fn carry_out(&mut self, plans: &mut [Plan]) -> Result<(), GuardBroken> {
        for plan in plans.iter().filter(|plan| !plan.is_empty()) {
            self.revision += 1;
            self.world.commit(&plan.whole(), self.revision)?;
        }
        Ok(())
    }

    /// Pass after pass until there is nothing to do at this moment: the plans that wrote something, and when
    /// to look again.
    ///
    /// # Errors
    /// See [`Model::pass`].
    pub fn settle(&mut self) -> Result<(Vec<Plan>, Option<Duration>), GuardBroken> {
        let mut done = Vec::new();
        for _ in 0..PASSES {
            let plans = self.pass()?;
            let wake = plans.iter().filter_map(|plan| plan.wake_after).min();
            let mut wrote: Vec<Plan> = plans.into_iter().filter(|plan| !plan.is_empty()).collect();
            if wrote.is_empty() {
                return Ok((done, wake));
            }
            done.append(&mut wrote);
        }
        Ok((done, None))
    }
}
