//! The page: all figures of one process as text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use evenkeel_api::key::Controller;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::figures::Figures;
use crate::lookup::Lookup;
use crate::meter::Meter;

/// Which program counts.
#[derive(Debug, Clone)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// The feature level that it understands.
    pub level: u32,
    /// When the process began, in seconds since 1970.
    pub started: f64,
}

/// All figures of one process.
pub struct Page {
    figures: Arc<Figures>,
    registry: Registry,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

/// In which form a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As Prometheus always had it.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Page {
    /// Nothing is counted yet.
    pub fn new(build: &Build) -> Self {
        let (figures, mut registry) = (Arc::new(Figures::default()), Registry::default());
        let info = Family::<[(&'static str, String); 2], Gauge>::default();
        let level = build.level.to_string();
        info.get_or_create(&[("version", build.version.clone()), ("level", level)]).set(1);
        registry.register(
            "evenkeel_build_info",
            "1 with the version of the controllers, and the newest level that it knows",
            info,
        );
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(build.started);
        let help = "When the process of these controllers began, since 1970";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        figures.register(&mut registry);
        registry.register_collector(Box::new(Lookup(figures.clone())));
        Self { figures, registry }
    }

    /// What a controller counts with.
    pub fn meter(&self, controller: Controller) -> Meter {
        Meter::new(self.figures.clone(), controller)
    }

    /// The page as it is now.
    pub fn text(&self, form: Form) -> String {
        let mut page = String::new();
        let written = match form {
            Form::Prometheus => prometheus_text::encode(&mut page, &self.registry),
            Form::OpenMetrics => text::encode(&mut page, &self.registry),
        };
        // A text takes all that is written to it.
        debug_assert!(written.is_ok());
        page
    }
}
