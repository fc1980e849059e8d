//! The five rooms of serving names.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_metrics::{Meter, Trouble};
use evenkeel_names::forward::Forwarder;
use evenkeel_names::server::Server;
use evenkeel_plan::dns::{Absences, Here, Zone};
use evenkeel_runtime::disk::Siblings;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::latest::Listener;
use evenkeel_runtime::mirror::{Changed, Mirror};
use evenkeel_runtime::writer::Trust;
use tokio::sync::watch;

use super::DnsDeps;
use super::keep::{PERIOD, State};
use super::listen::Listening;
use super::observe::{Stored, here, look, prefixes};

/// Before an address that could not be served is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who is told what.
pub(super) struct Told {
    /// The addresses of our name servers.
    pub(super) own: watch::Sender<Arc<BTreeSet<Ipv4Addr>>>,
    /// What is to survive.
    pub(super) state: watch::Sender<Arc<State>>,
    /// The revision that is served.
    pub(super) serve: watch::Sender<Option<i64>>,
}

/// Serves names.
pub(super) struct Driver {
    env: Arc<Env>,
    meter: Meter,
    port: u16,
    listen: Vec<Ipv4Addr>,
    stored: Stored,
    changed: Changed,
    trust: Listener<Trust>,
    here: Here,
    siblings: Siblings,
    absences: Absences,
    server: Server,
    listening: Listening,
    told: Told,
    synced: bool,
    /// Whether there is something to keep, and when that may be done next.
    unkept: bool,
    keep_at: Duration,
}

impl Driver {
    /// Starts from what was kept.
    pub(super) fn new(deps: DnsDeps, forwarder: Arc<Forwarder>, told: Told) -> Self {
        let mirror = Mirror::start(deps.store.clone(), prefixes());
        let siblings = Siblings::new(&deps.state_dir);
        let here = here(&deps.host, &siblings);
        let kept = State::clone(&told.state.borrow());
        Self {
            env: deps.env,
            port: deps.port,
            listen: deps.listen,
            changed: mirror.subscribe(),
            trust: deps.store.witness().trust_changes(),
            stored: Stored::new(deps.store, mirror, kept),
            server: Server::new(Zone::unknown(&here), forwarder).observed_by(deps.meter.names()),
            meter: deps.meter,
            here,
            siblings,
            absences: Absences::default(),
            listening: Listening::new(deps.sockets),
            told,
            synced: false,
            unkept: false,
            keep_at: Duration::ZERO,
        }
    }

    /// Turns for ever.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let next = self.turn();
            self.wait(next).await;
        }
    }

    /// One turn; when the next is due by time alone.
    fn turn(&mut self) -> Option<Duration> {
        let _measured = self.meter.pass();
        // Validate: the leaders have, before anything was accepted.
        self.unkept |= self.stored.observe();
        let now = self.env.now();
        let (zone, next) = self.plan(now);
        let served = self.execute(zone);
        if !served {
            self.meter.failed(Trouble::Names);
        }
        self.meter.serves_names(served && self.stored.learnt());
        self.report(now);
        let retry = (!served).then(|| now + RETRY);
        let keep = self.unkept.then_some(self.keep_at);
        next.into_iter().chain(retry).chain(keep).min()
    }

    fn plan(&mut self, now: Duration) -> (Zone, Option<Duration>) {
        if !self.stored.learnt() {
            return (Zone::unknown(&self.here), None);
        }
        let world = &self.stored.state.world;
        self.absences.observe(&world.named_hosts(), &world.alive, now);
        let zone = self.server.zone().next(world, &self.here, &self.absences.gone(now));
        (zone, self.absences.next(now))
    }

    /// `false`: not all of it could be done.
    fn execute(&mut self, zone: Zone) -> bool {
        if *self.server.zone() != zone {
            self.server.set_zone(zone);
        }
        let world = &self.stored.state.world;
        let mut addresses = self.here.addresses(world);
        addresses.extend(&self.listen);
        let mut own: BTreeSet<Ipv4Addr> = world.gateways().map(|(_, _, address)| address).collect();
        own.extend(&addresses);
        self.told.own.send_if_modified(|told| {
            let differs = **told != own;
            *told = Arc::new(own);
            differs
        });
        let wanted = addresses.into_iter().map(|address| SocketAddrV4::new(address, self.port)).collect();
        self.listening.serve(&self.server, &self.env, &wanted, self.stored.learnt())
    }

    fn report(&mut self, now: Duration) {
        if self.unkept && self.keep_at <= now {
            self.told.state.send_replace(Arc::new(self.stored.state.clone()));
            (self.unkept, self.keep_at) = (false, now + PERIOD);
        }
        if self.stored.learnt() {
            let revision = Some(self.server.zone().revision());
            self.told.serve.send_if_modified(|told| std::mem::replace(told, revision) != revision);
        }
    }

    /// Until something may have changed. Why it woke is nobody's business.
    async fn wait(&mut self, next: Option<Duration>) {
        let pause = next.map(|next| next.saturating_sub(self.env.now()));
        let due = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // All are cancel-safe: what is not taken now is there the next time.
            keys = self.changed.next() => self.stored.note(keys),
            controller = self.siblings.changed() => look(&mut self.here, &self.siblings, controller),
            () = self.stored.synced(), if !self.synced => self.synced = true,
            () = self.trust.changed() => {}
            () = due => {}
        }
    }
}

#[cfg(test)]
mod tests;
