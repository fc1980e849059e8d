//! Probes: a copy answers if it runs and its image is well.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_engine::FakeEngine;
use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::Answer;
use evenkeel_plan::instance::container::ContainerState;
use evenkeel_probe::Probe;

use crate::documents::is_sick;
use crate::life::Life;
use crate::sick::Sick;

/// Asks the copies of one host.
pub struct SimProbe {
    engine: FakeEngine,
    life: Life,
    sick: Sick,
}

impl SimProbe {
    /// For one life.
    pub fn new(engine: FakeEngine, life: Life, sick: Sick) -> Self {
        Self { engine, life, sick }
    }
}

impl fmt::Debug for SimProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimProbe")
    }
}

#[async_trait]
impl Probe for SimProbe {
    async fn ask(&self, question: &Question, _timeout: Duration) -> Answer {
        if !self.life.turn().await {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        let address = match question {
            Question::Http { address, .. } | Question::Tcp { address } => *address.ip(),
            Question::Exec { .. } => return Answer::unasked("there are no commands here"),
        };
        let well = self.engine.any(|container, spec| {
            let image = spec.map_or("", |spec| spec.template.image.as_str());
            let runs = container.state == ContainerState::Running;
            let here = container.addresses.values().any(|own| *own == address);
            here && runs && !is_sick(image) && !self.sick.is(container)
        });
        if well { Answer::pass("200 OK") } else { Answer::fail("connection refused") }
    }
}
