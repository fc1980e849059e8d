//! The parent of a controllers' process: PID 1 of its container. It is small enough never to need a
//! restart, and so holds what must outlive one: the name server's sockets. It runs the controllers as its
//! worker and the watchdog as another, which a hung worker must not take along, starts them again whenever
//! they end, and passes signals on.
//!
//! One thread, no runtime: the worker's threads and memory come and go with the worker.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use evenkeel_names::handover::{Holder, Sockets};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, wait};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Set in a worker whose standard input leads to its parent.
const LINE: &str = "EVENKEEL_PARENT";
/// A worker that lives shorter than this has died young.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// So many that died young in a row are followed at once; then pauses begin.
const AT_ONCE: u32 = 3;
/// The first pause; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs `evenkeel controller FLAG ARGS…` for each of the flags, for as long as this process lives. Returns
/// when it was asked to end by SIGTERM or SIGINT and all workers have ended, with the first one's exit code.
///
/// Must be called from the main thread before any other is made: signals are taken from all of them.
pub fn run(flags: impl Iterator<Item = &'static str>, args: &[OsString]) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail("cannot tell what this program is", &error),
    };
    let command = |flag: &'static str| {
        let program = &program;
        move || {
            let mut command = Command::new(program);
            command.arg("controller").arg(flag).args(args);
            command
        }
    };
    match supervise(flags.map(command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail("the controllers' parent process", &error),
    }
}

/// Called by a worker as it starts, from the main thread before any other is made: where its sockets come
/// from. A worker of a parent ends with it, so that two never run the same controllers.
///
/// # Errors
/// Standard input, which leads to the parent, cannot be used.
pub fn sockets() -> std::io::Result<Sockets> {
    if std::env::var_os(LINE).is_none() {
        return Ok(Sockets::Direct);
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    // What the parent blocked for itself was inherited; what came meanwhile is delivered now.
    SigSet::empty().thread_set_mask()?;
    Sockets::from_stdin()
}

fn fail(what: &str, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("evenkeel: {what}: {error}");
    ExitCode::FAILURE
}

/// A worker that runs now.
struct Worker {
    pid: Pid,
    /// The parent's end of the line to it; none once the worker has closed its own.
    line: Option<OwnedFd>,
    started: Duration,
}

/// One of the processes that shall run.
struct Place<F> {
    command: F,
    worker: Option<Worker>,
    /// Workers in a row that died young.
    young: u32,
    /// When to start the next worker.
    due: Duration,
    /// How the last one ended.
    code: Option<u8>,
}

/// All that the parent is.
struct Parent<F> {
    places: Vec<Place<F>>,
    holder: Holder,
    /// Asked to end.
    ending: bool,
}

fn supervise<F: FnMut() -> Command>(commands: impl Iterator<Item = F>) -> std::io::Result<u8> {
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        wanted.add(signal);
    }
    // Blocked, so that they come by the descriptor; the worker unblocks them for itself.
    wanted.thread_block()?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let place = |command| Place { command, worker: None, young: 0, due: Duration::ZERO, code: None };
    let mut parent = Parent { places: commands.map(place).collect(), holder: Holder::new(), ending: false };
    loop {
        if !parent.ending {
            parent.places.iter_mut().filter(|place| place.is_due()).for_each(Place::start);
        }
        parent.wait(&signals)?;
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                parent.end();
            }
        }
        // Whatever the signals said: several ends may have come as one.
        parent.reap();
        if parent.ending && parent.places.iter().all(|place| place.worker.is_none()) {
            return Ok(parent.places.first().and_then(|place| place.code).unwrap_or(0));
        }
    }
}

impl<F: FnMut() -> Command> Place<F> {
    fn is_due(&self) -> bool {
        self.worker.is_none() && self.due <= now()
    }

    fn start(&mut self) {
        let made = Holder::line().and_then(|(line, its)| {
            let mut command = (self.command)();
            let child = command.env(LINE, "stdin").stdin(Stdio::from(its)).spawn()?;
            Ok((line, child.id()))
        });
        let pid = made.and_then(|(line, id)| {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
            pid.map(|pid| (line, pid)).ok_or_else(|| std::io::Error::other("a process without a number"))
        });
        match pid {
            Ok((line, pid)) => {
                self.worker = Some(Worker { pid, line: Some(line), started: now() });
            }
            Err(error) => {
                eprintln!("evenkeel: cannot start the controllers: {error}");
                self.back_off();
            }
        }
    }

    fn back_off(&mut self) {
        self.due = now() + pause_after(self.young);
        self.young = self.young.saturating_add(1);
    }
}

impl<F: FnMut() -> Command> Parent<F> {
    /// Until there is something to do; answers the workers.
    fn wait(&mut self, signals: &SignalFd) -> std::io::Result<()> {
        let lines: Vec<(usize, &OwnedFd)> = self
            .places
            .iter()
            .enumerate()
            .filter_map(|(at, place)| Some((at, place.worker.as_ref()?.line.as_ref()?)))
            .collect();
        let mut polled = vec![PollFd::new(signals, PollFlags::IN)];
        polled.extend(lines.iter().map(|(_, line)| PollFd::new(*line, PollFlags::IN)));
        let idle = self.places.iter().filter(|place| place.worker.is_none());
        let until = idle.map(|place| place.due.saturating_sub(now())).min();
        let until = until.and_then(|pause| Timespec::try_from(pause).ok());
        match poll(&mut polled, until.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let spoken = polled.iter().skip(1).zip(&lines).filter(|(one, _)| !one.revents().is_empty());
        let spoken: Vec<usize> = spoken.map(|(_, (at, _))| *at).collect();
        for at in spoken {
            let worker = self.places.get_mut(at).and_then(|place| place.worker.as_mut());
            if let Some(worker) = worker
                && let Some(line) = &worker.line
                && !self.holder.serve(line.as_fd())
            {
                worker.line = None;
            }
        }
        Ok(())
    }

    /// Passes the wish to end on. The sockets are held until the workers have ended.
    fn end(&mut self) {
        self.ending = true;
        for worker in self.places.iter().filter_map(|place| place.worker.as_ref()) {
            let _ = kill_process(worker.pid, rustix::process::Signal::TERM);
        }
    }

    /// Takes note of all processes that ended, also of orphans, which PID 1 inherits.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            for place in &mut self.places {
                let Some(worker) = place.worker.take_if(|worker| worker.pid == pid) else { continue };
                place.code = Some(exit_code(status));
                if self.ending {
                    continue;
                }
                eprintln!("evenkeel: the controllers ended ({}); starting them again", describe(status));
                if now().saturating_sub(worker.started) < SHORT_LIFE {
                    place.back_off();
                } else {
                    place.young = 0;
                    place.due = Duration::ZERO;
                }
            }
        }
    }
}

/// The pause before the next worker, after so many before the last one died young.
fn pause_after(young: u32) -> Duration {
    match young.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(6)).min(LONGEST_PAUSE),
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no known reason".to_owned(),
    }
}

/// Monotonic time.
fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn pauses_begin_late_and_end_at_five_seconds() {
        let pauses: Vec<u128> = (0..12).map(|young| super::pause_after(young).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }
}
