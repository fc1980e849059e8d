//! `evenkeel man`: manual pages, made from what `--help` says.

use std::path::PathBuf;

use clap::{Args, Command};

use crate::failure::Failure;
use crate::output::say;

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel man /usr/local/share/man/man1 && man evenkeel-apply")]
pub struct Man {
    /// The folder; it is made if it is not there
    folder: PathBuf,
}

impl Man {
    /// Writes a page for the command, and one for each command below it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn run(&self, command: Command) -> Result<(), Failure> {
        let told = |error: std::io::Error| Failure::new(format!("{}: {error}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(told)?;
        clap_mangen::generate_to(command, &self.folder).map_err(told)?;
        say!("manual pages written to {}", self.folder.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_a_page_but_those_for_programs() {
        let folder = tempfile::tempdir().unwrap();
        Man { folder: folder.path().to_owned() }.run(crate::Cli::command()).unwrap();
        let there = |name: &str| folder.path().join(name).exists();
        assert!(there("evenkeel.1") && there("evenkeel-rollout-status.1") && !there("evenkeel-complete.1"));
        let wait = std::fs::read_to_string(folder.path().join("evenkeel-wait.1")).unwrap();
        assert!(wait.contains("\\fB\\-\\-for\\fR"), "{wait}");
    }
}
