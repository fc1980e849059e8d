//! Where a copy goes: among the hosts that passed all filters, one that does not come and go, and on which it did
//! not fail before, if there is one; of these the one that serves spreading best, then has
//! the fewest copies of the service, then is least full; the name decides the rest, so that the same world
//! always gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::{HostName, InstanceId, ObjectName, ServiceId};
use evenkeel_api::service::{ServiceSpec, Template};

use super::filter::{Candidate, Leave};
use super::ledger::Ledger;
use super::memory::ServiceMemory;
use super::refusals::{Refusal, Refusals};
use super::world::World;

/// Which hosts may be asked.
#[derive(Debug, Clone)]
pub(crate) enum Only {
    /// All.
    Any,
    /// This one.
    Host(HostName),
    /// Those where a volume is.
    Volume(ObjectName, BTreeSet<HostName>),
}

/// The hosts for copies of one template, with an account of their own that follows each copy placed.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    spec: &'a ServiceSpec,
    candidates: Vec<Candidate<'a>>,
    refused: BTreeMap<&'a HostName, Refusal>,
    /// For each spread, how many copies each value of the label has.
    spread: Vec<Vec<u32>>,
    /// Hosts that are given nothing that fits elsewhere.
    flapping: BTreeSet<HostName>,
}

impl<'a> Places<'a> {
    /// The hosts that may take copies of `template`.
    pub fn new(
        world: &'a World,
        ledger: &Ledger,
        id: &ServiceId,
        spec: &'a ServiceSpec,
        template: &Template,
        memory: Option<&ServiceMemory>,
    ) -> Self {
        let mut refused = BTreeMap::new();
        let mut candidates = Vec::with_capacity(world.hosts.len());
        for entry in world.hosts.iter().filter(|(_, host)| host.accepted.is_some()) {
            match Candidate::new(world, ledger, id, entry, spec, template) {
                Ok(candidate) => candidates.push(candidate),
                Err(refusal) => {
                    refused.insert(entry.0, refusal);
                }
            }
        }
        let mut places = Self { spec, candidates, refused, spread: Vec::new(), flapping: BTreeSet::new() };
        places.count_own(ledger, id, memory);
        places.index_spread(world, ledger, id);
        places
    }

    /// Give nothing to these hosts that fits elsewhere.
    pub(crate) fn rather_not(mut self, flapping: BTreeSet<HostName>) -> Self {
        self.flapping = flapping;
        self
    }

    fn count_own(&mut self, ledger: &Ledger, id: &ServiceId, memory: Option<&ServiceMemory>) {
        let mut by_host: BTreeMap<&HostName, (u32, Vec<InstanceId>)> = BTreeMap::new();
        for (copy, charge) in ledger.copies(id) {
            let entry = by_host.entry(&charge.host).or_default();
            entry.0 += u32::from(charge.stays);
            entry.1.push(copy.clone());
        }
        for candidate in &mut self.candidates {
            if let Some((stay, own)) = by_host.remove(candidate.name) {
                candidate.stay = stay;
                candidate.own = own;
            }
            candidate.failed =
                memory.is_some_and(|memory| memory.failed_on.keys().any(|(_, host)| host == candidate.name));
        }
    }

    /// Number the values of each label to spread over, and count the copies that stay on hosts of each.
    fn index_spread(&mut self, world: &World, ledger: &Ledger, id: &ServiceId) {
        for key in &self.spec.deploy.placement.spread {
            let mut values: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            let mut counts = Vec::new();
            for candidate in &mut self.candidates {
                let value = candidate.host.label(key);
                let index = *values.entry(value).or_insert_with(|| {
                    counts.push(0);
                    counts.len() - 1
                });
                candidate.spread.push(index);
            }
            for (_, charge) in ledger.copies(id).filter(|(_, charge)| charge.stays) {
                let value = world.hosts.get(&charge.host).and_then(|host| host.label(key));
                if let Some(index) = values.get(&value) {
                    counts[*index] += 1;
                }
            }
            self.spread.push(counts);
        }
    }

    /// The best host, or who refused.
    /// `avoid`: hosts that are only taken where no other fits.
    pub(crate) fn pick(
        &self,
        only: &Only,
        leave: Leave<'_>,
        avoid: &BTreeSet<HostName>,
    ) -> Result<HostName, Refusals> {
        let mut best: Option<&Candidate<'_>> = None;
        for candidate in &self.candidates {
            if self.refuses(candidate, only, leave).is_none()
                && best.is_none_or(|best| self.is_better(candidate, best, avoid))
            {
                best = Some(candidate);
            }
        }
        best.map(|best| best.name.clone()).ok_or_else(|| self.explain(only, leave))
    }

    fn refuses(&self, candidate: &Candidate<'_>, only: &Only, leave: Leave<'_>) -> Option<Refusal> {
        match only {
            Only::Volume(volume, hosts) if !hosts.contains(candidate.name) => {
                Some(Refusal::Volume(volume.clone()))
            }
            Only::Host(host) if host != candidate.name => Some(Refusal::Drained),
            _ => candidate.refuses(self.spec, leave),
        }
    }

    /// Who refused, when nobody fits.
    fn explain(&self, only: &Only, leave: Leave<'_>) -> Refusals {
        let asked = |name: &HostName| !matches!(only, Only::Host(host) if host != name);
        let mut refusals = Refusals::default();
        for (_, refusal) in self.refused.iter().filter(|(name, _)| asked(name)) {
            refusals.add(refusal.clone());
        }
        for candidate in self.candidates.iter().filter(|candidate| asked(candidate.name)) {
            if let Some(refusal) = self.refuses(candidate, only, leave) {
                refusals.add(refusal);
            }
        }
        refusals
    }

    /// The hosts that could take a copy, and who refused it.
    pub(crate) fn sort_out(&self, only: &Only) -> (BTreeSet<HostName>, Refusals) {
        let refusals = self.explain(only, Leave::default());
        let fit = self
            .candidates
            .iter()
            .filter(|candidate| self.refuses(candidate, only, Leave::default()).is_none());
        (fit.map(|candidate| candidate.name.clone()).collect(), refusals)
    }

    fn is_better(&self, a: &Candidate<'_>, b: &Candidate<'_>, avoid: &BTreeSet<HostName>) -> bool {
        let spread = |candidate: &Candidate<'_>, n: usize| self.spread[n][candidate.spread[n]];
        let by_spread = (0..self.spread.len()).map(|n| spread(a, n).cmp(&spread(b, n)));
        let by_spread = by_spread.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
        let avoided = |candidate: &Candidate<'_>| avoid.contains(candidate.name);
        let flaps = |candidate: &Candidate<'_>| self.flapping.contains(candidate.name);
        flaps(a)
            .cmp(&flaps(b))
            .then_with(|| avoided(a).cmp(&avoided(b)))
            .then(by_spread)
            .then_with(|| a.stay.cmp(&b.stay))
            .then_with(|| a.load(self.spec).cmp(&b.load(self.spec)))
            .then_with(|| a.copies.cmp(&b.copies))
            .then_with(|| a.failed.cmp(&b.failed))
            .is_lt()
    }

    /// Enter a copy on `host` in this account.
    pub fn take(&mut self, id: &InstanceId, host: &HostName) {
        let Ok(index) = self.candidates.binary_search_by(|candidate| candidate.name.cmp(host)) else {
            return;
        };
        let candidate = &mut self.candidates[index];
        let wanted = &self.spec.deploy.reservations;
        candidate.used.0 += wanted.cpus.unwrap_or_default().0;
        candidate.used.1 += wanted.memory.unwrap_or_default().0;
        candidate.copies += 1;
        candidate.stay += 1;
        candidate.own.push(id.clone());
        for (_, free) in &mut candidate.addresses {
            *free = free.saturating_sub(1);
        }
        candidate.taken = candidate.ports.iter().map(|port| (*port, Vec::new())).collect();
        for (counts, value) in self.spread.iter_mut().zip(&candidate.spread) {
            counts[*value] += 1;
        }
    }

    /// The best host for one more copy with nothing left out, or who refused.
    ///
    /// # Errors
    /// No host fits.
    pub fn best(&self) -> Result<HostName, Refusals> {
        self.pick(&Only::Any, Leave::default(), &BTreeSet::new())
    }
}
