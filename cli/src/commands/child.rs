//! `evenkeel child`: becomes another program that does not outlive whoever began it, however that ends.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::failure::Failure;

/// Whose, and what.
#[derive(Debug, Args)]
pub struct Child {
    /// The process that begins it
    parent: u32,
    /// The program, and its words
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Child {
    /// A command that runs `command` as a child of this process and of the thread that begins it: it is told to end when
    /// that ends.
    ///
    /// # Errors
    /// Nobody can tell which program this is.
    pub fn of_ours(command: &Command) -> std::io::Result<Command> {
        let mut child = Command::new(std::env::current_exe()?);
        child.arg("child").arg(std::process::id().to_string()).arg("--");
        child.arg(command.get_program()).args(command.get_args());
        Ok(child)
    }

    /// Becomes it.
    ///
    /// # Errors
    /// Whoever began it is gone already, or there is no such program.
    pub fn run(&self) -> Result<(), Failure> {
        let told = |error: &dyn std::fmt::Display| {
            Failure::new(format!(
                "{}: {error}",
                self.command.first().map_or("".into(), |it| it.to_string_lossy())
            ))
        };
        // It holds also for the program that this becomes.
        set_pdeathsig(Signal::SIGTERM).map_err(|error| told(&error))?;
        if u32::try_from(getppid().as_raw()) != Ok(self.parent) {
            return Err(told(&"whoever began this is gone"));
        }
        let Some((program, words)) = self.command.split_first() else { return Err(told(&"no program")) };
        Err(told(&Command::new(program).args(words).exec()))
    }
}
