//! Probes of copies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::{Answer, Outcome};
use evenkeel_probe::Probe;
use tokio::time::Instant;

use crate::meter::Meter;

/// A probe that counts answers.
#[derive(Debug)]
pub struct MeteredProbe {
    probe: Arc<dyn Probe>,
    meter: Meter,
}

impl MeteredProbe {
    /// Around a probe.
    pub fn new(probe: Arc<dyn Probe>, meter: Meter) -> Self {
        Self { probe, meter }
    }
}

#[async_trait]
impl Probe for MeteredProbe {
    async fn ask(&self, question: &Question, timeout: Duration) -> Answer {
        let began = Instant::now();
        let answer = self.probe.ask(question, timeout).await;
        let of = match question {
            Question::Tcp { .. } => "tcp",
            Question::Http { .. } => "http",
            Question::Exec { .. } => "exec",
        };
        let figures = &self.meter.figures;
        let outcome = match answer.outcome {
            Outcome::Pass => "passed",
            Outcome::Fail => "failed",
            Outcome::Unasked => "unasked",
        };
        figures.checks.get_or_create(&[("type", of), ("outcome", outcome)]).inc();
        figures.check_times.get_or_create(&[("type", of)]).observe(began.elapsed().as_secs_f64());
        answer
    }
}
