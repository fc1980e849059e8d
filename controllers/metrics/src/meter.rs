//! What a controller counts with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Controller;
use evenkeel_api::name::ServiceId;
use evenkeel_names::server::Observer;
use evenkeel_runtime::latest::Listener;
use evenkeel_runtime::leader::Lead;
use evenkeel_runtime::witness::Witness;
use evenkeel_runtime::writer::WriteError;
use tokio::time::Instant;

use crate::figures::Figures;
use crate::lookup::lock;
use crate::tally::Tally;

/// What one controller counts with; a cheap handle. The default one counts for nobody.
#[derive(Clone)]
pub struct Meter {
    pub(crate) figures: Arc<Figures>,
    pub(crate) controller: Controller,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({})", self.controller.as_str())
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new(Arc::default(), Controller::Host)
    }
}

/// What kept a pass from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// etcd did not take or give something.
    Store,
    /// etcd is not believed.
    Untrusted,
    /// The Docker engine did not do something.
    Engine,
    /// A registry did not give an image.
    Image,
    /// The kernel did not do something, or not tell.
    Machine,
    /// Names are not served.
    Names,
    /// A record could not be written down.
    Record,
}

impl Trouble {
    fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Untrusted => "untrusted",
            Self::Engine => "engine",
            Self::Image => "image",
            Self::Machine => "machine",
            Self::Names => "names",
            Self::Record => "record",
        }
    }
}

impl From<&WriteError> for Trouble {
    fn from(error: &WriteError) -> Self {
        match error {
            WriteError::Store(_) => Self::Store,
            WriteError::Txn(_) => Self::Record,
            WriteError::Untrusted(_) => Self::Untrusted,
        }
    }
}

impl Meter {
    pub(crate) fn new(figures: Arc<Figures>, controller: Controller) -> Self {
        Self { figures, controller }
    }

    pub(crate) fn of(&self) -> (&'static str, &'static str) {
        ("controller", self.controller.as_str())
    }

    /// A pass begins; it ends with what is given.
    pub fn pass(&self) -> Pass {
        Pass { meter: self.clone(), began: Instant::now() }
    }

    /// Something kept a pass from its end.
    pub fn failed(&self, trouble: impl Into<Trouble>) {
        let labels = [self.of(), ("kind", trouble.into().as_str())];
        self.figures.pass_errors.get_or_create(&labels).inc();
    }

    /// Whether this process leads is told by that.
    pub fn leads(&self, lead: Listener<Option<Lead>>) {
        lock(&self.figures.looked_up.leading).push((self.controller, lead));
    }

    /// The whole cluster as this process sees it, which leads; none: it leads no more.
    pub fn cluster(&self, tally: Option<Tally>) {
        self.figures.looked_up.cluster.store(tally.map(Arc::new));
    }

    /// Containers of a service ended by themselves here, and were started again.
    pub fn restarted(&self, service: &ServiceId, times: u32) {
        self.figures.restarts.get_or_create(&of_service(service)).inc_by(times.into());
    }

    /// Nothing of a service is here any more.
    pub fn forget(&self, service: &ServiceId) {
        self.figures.restarts.remove(&of_service(service));
    }

    /// Whether names are served as they shall be.
    pub fn serves_names(&self, serves: bool) {
        self.figures.serving.get_or_create(&[]).set(serves.into());
    }

    /// Who counts queries for names.
    pub fn names(&self) -> Arc<dyn Observer> {
        Arc::new(Names(self.figures.clone()))
    }

    pub(crate) fn watches(&self, witness: Arc<Witness>) {
        lock(&self.figures.looked_up.stores).push((self.controller, witness));
    }
}

fn of_service(service: &ServiceId) -> [(&'static str, String); 2] {
    [("namespace", service.namespace.to_string()), ("service", service.name.to_string())]
}

/// A pass that is under way.
#[must_use = "a pass ends when this is dropped"]
pub struct Pass {
    meter: Meter,
    began: Instant,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let took = self.began.elapsed().as_secs_f64();
        self.meter.figures.passes.get_or_create(&[self.meter.of()]).observe(took);
    }
}

/// Counts queries.
struct Names(Arc<Figures>);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Observer for Names {
    fn answered(&self, code: Option<u8>, forwarded: bool, took: Duration) {
        let from = ("from", if forwarded { "resolver" } else { "own" });
        self.0.queries.get_or_create(&[("code", word(code)), from]).inc();
        self.0.query_times.get_or_create(&[from]).observe(took.as_secs_f64());
    }
}

/// A code of an answer, as DNS calls it.
fn word(code: Option<u8>) -> &'static str {
    match code {
        Some(0) => "noerror",
        Some(1) => "formerr",
        Some(2) => "servfail",
        Some(3) => "nxdomain",
        Some(4) => "notimp",
        Some(5) => "refused",
        Some(_) => "other",
        None => "none",
    }
}
