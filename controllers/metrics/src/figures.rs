//! The figures of one process. Every label has few values: controllers, kinds of error, calls, and, where it
//! says so, the services that are on this host.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use evenkeel_api::key::Controller;
use evenkeel_runtime::latest::Listener;
use evenkeel_runtime::leader::Lead;
use evenkeel_runtime::witness::Witness;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::tally::Tally;

/// Labels with values that stand in this program.
pub(crate) type Labels<const N: usize> = [(&'static str, &'static str); N];
/// Labels that name a service.
pub(crate) type OfService = [(&'static str, String); 2];

pub(crate) type Counts<const N: usize> = Family<Labels<N>, Counter>;
pub(crate) type Times<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// From a millisecond to ten seconds: calls, passes, probes.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0])
}

/// From ten microseconds to a second: queries for names.
fn short_seconds() -> Histogram {
    Histogram::new([0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0])
}

/// All figures of one process.
pub(crate) struct Figures {
    pub passes: Times<1>,
    pub pass_errors: Counts<2>,
    pub writes: Counts<2>,
    pub store_times: Times<1>,
    pub store_errors: Counts<2>,
    pub watches_lost: Counts<2>,
    pub engine_times: Times<2>,
    pub engine_errors: Counts<3>,
    pub pulls: Counts<1>,
    pub checks: Counts<2>,
    pub check_times: Times<1>,
    pub restarts: Family<OfService, Counter>,
    pub disk_errors: Counts<1>,
    pub queries: Counts<2>,
    pub query_times: Times<1>,
    pub serving: Family<Labels<0>, Gauge>,
    /// Read when the page is asked for.
    pub looked_up: LookedUp,
}

/// What is only looked up when the page is asked for.
#[derive(Default)]
pub(crate) struct LookedUp {
    /// Whose store it is, and what is known of it.
    pub stores: Mutex<Vec<(Controller, Arc<Witness>)>>,
    /// Whether this process leads.
    pub leading: Mutex<Vec<(Controller, Listener<Option<Lead>>)>>,
    /// The whole cluster, as its leader sees it; none while another process leads.
    pub cluster: ArcSwapOption<Tally>,
}

impl Default for Figures {
    fn default() -> Self {
        let times = || Family::new_with_constructor(seconds as fn() -> Histogram);
        Self {
            passes: times(),
            pass_errors: Family::default(),
            writes: Family::default(),
            store_times: times(),
            store_errors: Family::default(),
            watches_lost: Family::default(),
            engine_times: Family::new_with_constructor(seconds as fn() -> Histogram),
            engine_errors: Family::default(),
            pulls: Family::default(),
            checks: Family::default(),
            check_times: times(),
            restarts: Family::default(),
            disk_errors: Family::default(),
            queries: Family::default(),
            query_times: Family::new_with_constructor(short_seconds as fn() -> Histogram),
            serving: Family::default(),
            looked_up: LookedUp::default(),
        }
    }
}

impl Figures {
    /// Puts all of them on a page, but for those that are looked up.
    pub fn register(&self, page: &mut Registry) {
        time(page, "evenkeel_reconcile", "How long passes of a controller took", &self.passes);
        let help = "What kept passes of a controller from their end, by kind";
        put(page, "evenkeel_reconcile_errors", help, &self.pass_errors);
        let help =
            "Transactions that write, by outcome: done, lost (something had moved; planned again), failed";
        put(page, "evenkeel_store_writes", help, &self.writes);
        time(page, "evenkeel_store_request", "How long etcd took to answer", &self.store_times);
        put(page, "evenkeel_store_errors", "Requests that etcd did not do, by kind", &self.store_errors);
        let help = "Watches that broke, by kind; each is begun again from where it was, or with a new list";
        put(page, "evenkeel_store_watches_lost", help, &self.watches_lost);
        time(page, "evenkeel_engine_call", "How long the Docker engine took, by call", &self.engine_times);
        put(page, "evenkeel_engine_errors", "Calls that the engine did not do, by kind", &self.engine_errors);
        put(page, "evenkeel_image_pulls", "Images asked of a registry, by outcome", &self.pulls);
        put(page, "evenkeel_checks", "Probes of copies on this host, by type and outcome", &self.checks);
        time(page, "evenkeel_check", "How long probes took, by type", &self.check_times);
        let help = "Containers of copies on this host that ended by themselves and were started again";
        put(page, "evenkeel_copy_restarts", help, &self.restarts);
        let help = "Files of a controller's state that the disk did not take";
        put(page, "evenkeel_disk_write_failures", help, &self.disk_errors);
        let help = "Queries to this host's name server, by code of the answer, and from where that came";
        put(page, "evenkeel_dns_queries", help, &self.queries);
        time(page, "evenkeel_dns_query", "How long queries for names took", &self.query_times);
        let help =
            "1 while this host's name server knows its names, and has all addresses that it is to have";
        put(page, "evenkeel_dns_serving", help, &self.serving);
    }
}

fn put<M: Metric + Clone>(page: &mut Registry, name: &str, help: &str, figure: &M) {
    page.register(name, help, figure.clone());
}

fn time<const N: usize>(page: &mut Registry, name: &str, help: &str, figure: &Times<N>) {
    page.register_with_unit(name, help, Unit::Seconds, figure.clone());
}
