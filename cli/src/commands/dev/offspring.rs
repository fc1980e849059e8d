//! The children of `evenkeel dev`: etcd, and the controllers. None of them outlives it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::folder::Folder;
use crate::commands::child::Child;
use crate::failure::Failure;
use crate::polling::{Step, poll};

/// For a child that was told to end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks at children that run.
const LOOK: Duration = Duration::from_millis(500);

/// Those that run.
#[derive(Default)]
pub struct Children {
    pub etcd: Option<Offspring>,
    pub controllers: Option<Offspring>,
}

impl Children {
    /// Waits until one ends by itself.
    pub async fn one_ends(&mut self) -> Failure {
        loop {
            for child in [&mut self.etcd, &mut self.controllers].into_iter().flatten() {
                if child.is_over() {
                    return child.told("ended by itself");
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Ends them gently, those first that need the other.
    pub async fn end(self) {
        for child in [self.controllers, self.etcd].into_iter().flatten() {
            child.end().await;
        }
    }
}

/// A child, which says what it says into a file.
pub struct Offspring {
    name: &'static str,
    child: process::Child,
    log: PathBuf,
}

impl Offspring {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &'static str, command: &Command, folder: &Folder) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let mut command = Child::of_ours(command)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Ctrl-C is for us: they are needed to take everything down.
        command.process_group(0);
        let child = command.spawn().map_err(|error| Failure::new(format!("{name}: {error}")))?;
        Ok(Self { name, child, log })
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Something about it.
    pub fn told(&self, what: &str) -> Failure {
        Failure::new(format!("{} {what}; see {}", self.name, self.log.display()))
    }

    /// Ends it gently, and at last not.
    async fn end(mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended =
            poll(ENDS_WITHIN, async || Ok(Step::once(self.is_over(), || Failure::new("it does not end"))));
        if ended.await.is_err() {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        // An error on the way: what was started does not stay.
        if !self.is_over() {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }
}
