//! One loss of a host, watched.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_tests::lab::load::{Change, Load};
use evenkeel_tests::lab::raw::Recorder;
use evenkeel_tests::lab::{Lab, eventually};

/// How long replacements may take before the round counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was measured, in seconds.
pub struct Round {
    /// The last remaining host's names are without the victim's addresses; none where names were not watched.
    pub out: Option<f64>,
    /// The last replacement started.
    pub replaced: f64,
}

/// What is to be watched.
pub struct Watch<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// Who loses its power.
    pub victim: &'a str,
    /// How the names of the service's containers begin.
    pub prefix: &'a str,
    /// How many of them are on the victim.
    pub lost: usize,
    /// Their addresses.
    pub gone: BTreeSet<String>,
    /// Who watches the names.
    pub names: Vec<Load>,
}

impl Watch<'_> {
    /// Pulls the plug and waits for the replacements.
    pub fn pull(self) -> Round {
        let others = self.lab.hosts_but(self.victim);
        let record = |host: &String| {
            Recorder::start(&self.lab.engine(host)).unwrap_or_else(|error| panic!("{host}: {error}"))
        };
        let recorders: Vec<Recorder> = others.iter().map(record).collect();
        if !self.names.is_empty() {
            eventually(15, "all watch the names", || {
                let watch =
                    |load: &Load| load.changes().last().is_some_and(|last| !last.addresses.is_empty());
                if self.names.iter().all(watch) { Ok(()) } else { Err("not yet".to_owned()) }
            });
        }
        let plug = end_of_engine(self.lab, self.victim);
        self.lab.run(&["poweroff", self.victim]);
        let plug = plug.recv().unwrap_or_else(|error| panic!("the engine's end: {error}"));
        let last = self.last_start(&recorders, plug);
        let out = (!self.names.is_empty()).then(|| self.out(plug));
        let replaced = (last - plug * 1_000_000) as f64 / 1e9;
        for load in self.names {
            load.finish();
        }
        Round { out, replaced }
    }

    /// Nanoseconds since 1970 of the last replacement's start.
    fn last_start(&self, recorders: &[Recorder], plug: i64) -> i64 {
        let (mut seen, mut last) = (0, 0);
        while seen < self.lost {
            let late = SystemClock.now().0 - plug > PATIENCE.as_millis() as i64;
            assert!(!late, "only {seen} of {} replacements of {} started", self.lost, self.victim);
            for recorder in recorders {
                let fits = |name: &str| name.starts_with(self.prefix);
                while let Some((_, at)) = recorder.next("start", fits, Duration::from_millis(5)) {
                    seen += 1;
                    last = last.max(at);
                }
            }
        }
        last
    }

    fn out(&self, plug: i64) -> f64 {
        let left = |load: &Load| {
            eventually(30, "the lost addresses leave the names", || {
                let changes = load.changes();
                let with =
                    |change: &Change| change.addresses.iter().any(|address| self.gone.contains(address));
                let last = changes.iter().rposition(with).ok_or("they were never there")?;
                changes.get(last + 1).map(|change| change.at).ok_or_else(|| "not yet".to_owned())
            })
        };
        let last = self.names.iter().map(left).max().unwrap_or(plug);
        (last - plug) as f64 / 1e3
    }
}

/// Tells when the engine's events end: milliseconds since 1970.
fn end_of_engine(lab: &Lab, host: &str) -> Receiver<i64> {
    let (tell, told) = channel();
    let events = lab.engine(host).events().unwrap_or_else(|error| panic!("{host}: {error}"));
    std::thread::spawn(move || {
        events.for_each(drop);
        // Nobody waits any more: then nobody needs it.
        let _ = tell.send(SystemClock.now().0);
    });
    told
}

/// The load generator, built beside this program.
pub fn load() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    me.with_file_name("load")
}
