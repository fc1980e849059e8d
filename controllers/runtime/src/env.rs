//! Time and chance as a controller gets them. Monotonic time is tokio's, which a test can pause; what
//! else a process would ask its machine for comes from here, so that a cluster can be run from one seed.

use std::sync::Mutex;
use std::time::Duration;

use evenkeel_api::record::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// The wall clock: for people to read, never to decide by.
pub trait WallClock: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;
}

/// The machine's own wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Time and chance for one process.
pub struct Env {
    wall: Box<dyn WallClock>,
    started: Instant,
    seed: Mutex<u64>,
    /// Which boot the machine's own clock counts from; none: time since `started` stands in for it.
    boot: Option<String>,
    /// When a simulated machine booted; none: the kernel counts.
    booted: Option<Instant>,
}

impl Env {
    /// Chance from `seed`, wall time from `wall`, monotonic time from now on.
    pub fn new(wall: impl WallClock + 'static, seed: u64) -> Self {
        Self {
            wall: Box::new(wall),
            started: Instant::now(),
            seed: Mutex::new(seed),
            boot: None,
            booted: None,
        }
    }

    /// On a simulated machine that booted at `booted`.
    #[must_use]
    pub fn in_boot(self, boot: &str, booted: Instant) -> Self {
        Self { boot: Some(boot.to_owned()), booted: Some(booted), ..self }
    }

    /// The machine's clock, and chance from its random device.
    ///
    /// # Errors
    /// The random device or the boot's id cannot be read.
    pub fn system() -> std::io::Result<Self> {
        let mut seed = [0; 8];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { boot: Some(boot), ..Self::new(SystemClock, u64::from_le_bytes(seed)) })
    }

    /// Time since the machine's boot, the same for all its processes. Goes on in suspend, unlike
    /// [`Env::now`]: for what must have an end on this machine by a time that others count, too.
    pub fn boot_time(&self) -> Duration {
        match (&self.boot, self.booted) {
            (_, Some(booted)) => booted.elapsed(),
            (Some(_), None) => Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or(Duration::MAX),
            (None, None) => self.now(),
        }
    }

    /// Which boot [`Env::boot_time`] counts from.
    pub fn boot(&self) -> &str {
        self.boot.as_deref().unwrap_or("a boot")
    }

    /// The time of day, for people to read.
    pub fn wall(&self) -> Timestamp {
        self.wall.now()
    }

    /// Monotonic time since the process began: what plans are given as `now`.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The next random number.
    pub fn random(&self) -> u64 {
        splitmix(&mut self.seed.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// splitmix64: small, well spread, and the same on every machine for a seed.
pub(crate) fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(i64);
    impl WallClock for At {
        fn now(&self) -> Timestamp {
            Timestamp(self.0)
        }
    }

    #[test]
    fn chance_is_the_same_on_every_machine() {
        let env = Env::new(At(0), 1_234_567);
        let drawn = [env.random(), env.random(), env.random()];
        // As the generator's authors publish them.
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_machine_has_a_boot_and_a_time_of_day_of_its_own() {
        let booted = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        let env = Env::new(At(7), 1).in_boot("b1", booted);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((env.boot(), env.boot_time()), ("b1", Duration::from_secs(7)));
        assert_eq!((env.wall(), env.now()), (Timestamp(7), Duration::from_secs(2)));
        let plain = Env::new(At(7), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            plain.boot_time(),
            Duration::from_secs(1),
            "without a boot it counts from the process's start"
        );
    }

    #[test]
    fn the_processes_of_a_machine_share_its_boot_and_its_clock() {
        let (one, two) = (Env::system().unwrap(), Env::system().unwrap());
        assert_eq!(one.boot(), two.boot());
        assert_eq!(one.boot().len(), 36, "a uuid: {}", one.boot());
        let (before, after) = (one.boot_time(), two.boot_time());
        assert!(!before.is_zero() && before <= after && after - before < Duration::from_secs(60));
        assert_ne!(one.random(), two.random());
        let year_2020 = 1_577_836_800_000;
        assert!(one.wall().0 > year_2020, "{:?}", one.wall());
    }
}
