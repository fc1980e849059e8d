//! Another machine, over the ssh that people have set up already; `EVENKEEL_SSH` names another program that takes its arguments.

use std::fs::File;
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::Failure;

/// A machine that can be reached as root.
#[derive(Debug, Clone)]
pub struct Remote {
    target: String,
}

impl Remote {
    /// `target` is what `ssh` takes: an address, `user@address`, or a name of its config.
    pub fn new(target: &str) -> Self {
        Self { target: target.to_owned() }
    }

    /// What a command there says, without the line's end.
    ///
    /// # Errors
    /// It is not reached, or the command fails.
    pub fn ask(&self, command: &str) -> Result<String, Failure> {
        let output = self.ssh(command).stdin(Stdio::null()).output().map_err(|error| self.no_ssh(&error))?;
        if !output.status.success() {
            return Err(self.failed(command, output.status, String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a command that reads `input` to its end; what it says is seen as it comes.
    ///
    /// # Errors
    /// It is not reached, or the command fails.
    pub fn tell(&self, command: &str, input: impl Into<Stdio>) -> Result<(), Failure> {
        let status = self.ssh(command).stdin(input).status().map_err(|error| self.no_ssh(&error))?;
        if status.success() { Ok(()) } else { Err(self.failed(command, status, "what it says stands above")) }
    }

    /// Puts this very program there.
    ///
    /// # Errors
    /// It cannot be read, or is not there afterwards.
    pub fn install(&self) -> Result<(), Failure> {
        let me = File::open(std::env::current_exe()?)?;
        let to = "/usr/local/bin/evenkeel";
        self.tell(&format!("cat >{to}.new && chmod 755 {to}.new && mv {to}.new {to}"), me)
    }

    fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new(std::env::var_os("EVENKEEL_SSH").unwrap_or_else(|| "ssh".into()));
        // Nobody may be there to answer questions; a machine that was never seen is taken at its word, once.
        ssh.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "ConnectTimeout=10",
            // A machine that goes in the middle is noticed.
            "-o",
            "ServerAliveInterval=5",
        ]);
        ssh.args(["--", &self.target, command]);
        ssh
    }

    fn no_ssh(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("ssh cannot be run: {error}; on Debian: apt-get install openssh-client"))
    }

    fn failed(&self, command: &str, status: ExitStatus, why: &str) -> Failure {
        let target = &self.target;
        // So ssh says that it failed itself, and not what was to be done there.
        if status.code() == Some(255) {
            return Failure::new(format!(
                "{target} is not reached: {why}\n  does `ssh {target} id` answer without a question, as root?"
            ));
        }
        let command: String = command.chars().take(60).collect();
        Failure::new(format!("{target} could not do «{command}»: {why}"))
    }
}
