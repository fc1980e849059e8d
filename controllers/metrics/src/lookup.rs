//! What is looked up when the page is asked for: how the store is, who leads, and the whole cluster.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};

use evenkeel_api::key::Controller;
use evenkeel_runtime::witness::Trust;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::figures::Figures;
use crate::tally::{HostState, ServiceTally, Tally};

/// See the module.
pub(crate) struct Lookup(pub Arc<Figures>);

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

impl Collector for Lookup {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        self.leading(&mut page)?;
        self.stores(&mut page)?;
        match &*self.0.looked_up.cluster.load() {
            Some(tally) => services(tally, &mut page).and_then(|()| hosts(tally, &mut page)),
            None => Ok(()),
        }
    }
}

impl Lookup {
    fn leading(&self, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut leading = lock(&self.0.looked_up.leading);
        let all = leading.iter_mut().map(|(controller, lead)| {
            ([("controller", controller.as_str())], u32::from(lead.get().is_some()))
        });
        gauges(page, "evenkeel_leader", "1 where the controller leads; only where it may", all)
    }

    fn stores(&self, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stores = lock(&self.0.looked_up.stores);
        let of = |controller: &Controller| [("controller", controller.as_str())];
        let help =
            "How long ago etcd last proved to a controller that it answers; an idle one asks every second";
        let silence = stores.iter().map(|(who, witness)| (of(who), witness.silence().as_secs_f64()));
        gauges_in(page, "evenkeel_store_silence", help, Some(&Unit::Seconds), silence)?;
        let help = "The newest revision of etcd that a controller has heard of";
        let revisions = stores.iter().map(|(who, witness)| (of(who), witness.revision()));
        gauges(page, "evenkeel_store_revision", help, revisions)?;
        let help = "1 while a controller believes etcd; 0: it went back, and nothing is decided or stopped";
        let trusted = |trust: Trust| u32::from(trust == Trust::Trusted);
        let trust = stores.iter().map(|(who, witness)| (of(who), trusted(witness.trust())));
        gauges(page, "evenkeel_store_trusted", help, trust)?;
        let full = stores.iter().map(|(who, witness)| (of(who), u32::from(witness.is_full())));
        gauges(page, "evenkeel_store_full", "1 when etcd said last that it is full", full)
    }
}

/// What is said of every figure of the whole cluster.
const WHOLE: &str = "; of the whole cluster, so told by the leader alone";

fn services(tally: &Tally, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut each = |name: &str, help: &str, of: fn(&ServiceTally) -> u32| {
        let all = tally.services.iter().map(|(id, service)| {
            ([("namespace", id.namespace.as_str()), ("service", id.name.as_str())], of(service))
        });
        gauges(page, name, &format!("{help}{WHOLE}"), all)
    };
    each("evenkeel_service_copies_wanted", "Copies that there shall be", |service| service.wanted)?;
    each("evenkeel_service_copies_running", "Copies that run", |service| service.running)?;
    each("evenkeel_service_copies_ready", "Copies that are in the names", |service| service.ready)?;
    each("evenkeel_service_document_valid", "1 when the newest document is valid", |service| {
        service.valid.into()
    })?;
    let help = "1 when the newest template is rejected, and an older one runs";
    each("evenkeel_service_template_rejected", help, |service| service.rejected.into())?;
    let named = tally
        .services
        .iter()
        .map(|(id, service)| (("namespace", id.namespace.as_str()), ("service", id.name.as_str()), service));
    let pending = named.clone().flat_map(|(namespace, name, service)| {
        service.pending.iter().map(move |(why, n)| ([namespace, name, ("reason", why.as_str())], *n))
    });
    let help = format!("Copies that no host takes, by what is lacking{WHOLE}");
    gauges(page, "evenkeel_service_copies_pending", &help, pending)?;
    let rollouts = named
        .map(|(namespace, name, service)| ([namespace, name, ("state", service.rollout.as_str())], 1u32));
    let help = format!("1 with the state that the rollout is in: done, rolling, paused, held{WHOLE}");
    gauges(page, "evenkeel_service_rollout", &help, rollouts)
}

fn hosts(tally: &Tally, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let count = |state: HostState| tally.hosts.values().filter(|of| **of == state).count();
    let counts = HostState::ALL.map(|state| ([("state", state.as_str())], count(state)));
    gauges(page, "evenkeel_hosts", &format!("Hosts by state{WHOLE}"), counts)?;
    let alive = tally
        .hosts
        .iter()
        .map(|(host, state)| ([("host", host.as_str())], u32::from(*state != HostState::Gone)));
    gauges(page, "evenkeel_host_alive", &format!("1 while a host renews its lease{WHOLE}"), alive)?;
    let held = [("hosts", tally.held_hosts), ("deletions", tally.held_deletions)];
    let held = held.map(|(what, n)| ([("what", what)], n));
    gauges(page, "evenkeel_brake_held", &format!("What the brakes hold{WHOLE}"), held)
}

fn gauges<S: EncodeLabelSet, V: EncodeGaugeValue>(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (S, V)>,
) -> fmt::Result {
    gauges_in(page, name, help, None, values)
}

fn gauges_in<S: EncodeLabelSet, V: EncodeGaugeValue>(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl IntoIterator<Item = (S, V)>,
) -> fmt::Result {
    let mut family = page.encode_descriptor(name, &format!("{help}."), unit, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

pub(crate) fn lock<T>(of: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
