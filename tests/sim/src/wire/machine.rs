//! A host's kernel and its wall clock.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use evenkeel_api::network::Cidr;
use evenkeel_api::record::Timestamp;
use evenkeel_engine::FakeEngine;
use evenkeel_manager::host::machine::{Machine, MachineError};
use evenkeel_manager::watchdog::{Cgroups, Sweep};
use evenkeel_plan::host::facts::{self, DeviceAddress, Route};
use evenkeel_plan::instance::container::ContainerState;
use evenkeel_runtime::env::WallClock;
use tokio::time::Instant;

/// A machine with one device.
#[derive(Debug, Clone, Copy)]
pub struct SimMachine(pub Ipv4Addr);

#[async_trait]
impl Machine for SimMachine {
    async fn observe(&self) -> Result<facts::Machine, MachineError> {
        let eth0 = DeviceAddress { device: "eth0".to_owned(), address: self.0, prefix: 24 };
        let lan = Route { destination: Cidr::new(self.0, 24), device: "eth0".to_owned(), protocol: 2 };
        Ok(facts::Machine { addresses: vec![eth0], routes: vec![lan] })
    }
}

/// Ends what an engine in memory runs, without asking it.
#[derive(Debug, Clone)]
pub struct SimCgroups(pub FakeEngine);

impl Cgroups for SimCgroups {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn end(&self, container: &str, _search: bool) -> std::io::Result<Sweep> {
        let runs = self.0.any(|one, _| one.id == container && one.state == ContainerState::Running);
        if runs {
            self.0.crash(container, 137, false);
        }
        Ok(Sweep { found: usize::from(runs), left: 0 })
    }
}

/// A wall clock that follows simulated time, until somebody sets it.
#[derive(Clone)]
pub struct SimWall {
    began: Instant,
    off_by: Arc<AtomicI64>,
}

impl SimWall {
    /// Right. Within a tokio runtime.
    pub fn new() -> Self {
        Self { began: Instant::now(), off_by: Arc::default() }
    }

    /// From now on it is off by so many milliseconds.
    pub fn set_off(&self, ms: i64) {
        self.off_by.store(ms, Ordering::Relaxed);
    }
}

impl Default for SimWall {
    fn default() -> Self {
        Self::new()
    }
}

impl WallClock for SimWall {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(1_700_000_000_000 + since + self.off_by.load(Ordering::Relaxed))
    }
}
