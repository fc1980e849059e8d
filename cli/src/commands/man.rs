//! `evenkeel man`: manual pages, made from what `--help` says.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};

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
    pub fn run(&self, mut command: Command) -> Result<(), Failure> {
        command.build();
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| Failure::new(format!("{}: {error}", self.folder.display())))?;
        let pages = pages(&command, "");
        for (name, text) in &pages {
            write(&self.folder.join(format!("{name}.1")), text)?;
        }
        say!("{} manual pages written to {}", pages.len(), self.folder.display());
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// The page of a command, and those of all below it.
fn pages(command: &Command, above: &str) -> Vec<(String, String)> {
    let name = match above {
        "" => command.get_name().to_owned(),
        above => format!("{above}-{}", command.get_name()),
    };
    let mut pages = vec![(name.clone(), page(command, &name, above))];
    for below in shown(command) {
        pages.extend(self::pages(below, &name));
    }
    pages
}

/// Commands below one that people should know of.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

fn page(command: &Command, name: &str, above: &str) -> String {
    let mut page = String::new();
    let title = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(page, ".TH \"{}\" 1 \"\" \"evenkeel {version}\" \"evenkeel\"", roff(&title));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, ".SH NAME\n{} \\- {}", roff(name), roff(&about));
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(page, ".SH SYNOPSIS\n.nf\n{}\n.fi", roff(usage.trim_start_matches("Usage: ")));
    if let Some(long) = command.get_long_about() {
        let _ = writeln!(page, ".SH DESCRIPTION\n{}", roff(&long.to_string()));
    }
    let args: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let (positionals, options): (Vec<&Arg>, Vec<&Arg>) =
        args.into_iter().partition(|arg| arg.is_positional());
    section(&mut page, "ARGUMENTS", &positionals);
    section(&mut page, "OPTIONS", &options);
    if shown(command).next().is_some() {
        page.push_str(".SH COMMANDS\n");
        for below in shown(command) {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let _ =
                writeln!(page, ".TP\n.BR {}\\-{} (1)\n{}", roff(name), roff(below.get_name()), roff(&about));
        }
    }
    if let Some(more) = command.get_after_help() {
        let _ = writeln!(page, ".SH NOTES\n.nf\n{}\n.fi", roff(&more.to_string()));
    }
    if !above.is_empty() {
        let _ = writeln!(page, ".SH SEE ALSO\n.BR {} (1)", roff(above));
    }
    page
}

fn section(page: &mut String, title: &str, args: &[&Arg]) {
    if args.is_empty() {
        return;
    }
    let _ = writeln!(page, ".SH {title}");
    for arg in args {
        let _ = writeln!(page, ".TP\n{}\n{}", head(arg), roff(&explained(arg)));
    }
}

/// How an argument is written.
fn head(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", roff(long)));
    let named: Vec<String> = short.into_iter().chain(long).collect();
    let values =
        arg.get_value_names().unwrap_or_default().iter().map(|name| format!("\\fI{}\\fR", roff(name)));
    let values: Vec<String> = values.filter(|_| arg.get_action().takes_values()).collect();
    [named.join(", "), values.join(" ")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What it means, with what it is when it is not given.
fn explained(arg: &Arg) -> String {
    let mut text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let list = |values: Vec<String>| values.join(", ");
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let possible = arg.get_possible_values();
    let possible =
        possible.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name().to_owned());
    let takes = arg.get_action().takes_values();
    let env = arg.get_env().map(|env| env.to_string_lossy().into_owned()).into_iter().collect();
    for (what, values) in
        [("default", list(default)), ("possible values", list(possible.collect())), ("env", list(env))]
    {
        if takes && !values.is_empty() {
            let _ = write!(text, " [{what}: {values}]");
        }
    }
    text
}

/// Text as roff takes it for nothing but text.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_a_page_that_says_what_its_help_says() {
        let mut command = crate::Cli::command();
        command.build();
        let pages = pages(&command, "");
        let page = |name: &str| pages.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        let wait = page("evenkeel-wait").unwrap();
        for said in [
            ".TH \"EVENKEEL\\-WAIT\" 1",
            ".SH SYNOPSIS\n.nf\nevenkeel wait [OPTIONS]",
            "\\fB\\-\\-for\\fR \\fIWHAT\\fR\nWhat to wait for [default: ready] [possible values: ready, rollout, gone]",
            ".SH SEE ALSO\n.BR evenkeel (1)",
        ] {
            assert!(wait.contains(said), "{said}\n{wait}");
        }
        assert!(page("evenkeel").unwrap().contains(".BR evenkeel\\-rollout (1)"));
        assert!(page("evenkeel-rollout-status").is_some() && page("evenkeel-complete").is_none());
        assert!(pages.iter().all(|(_, text)| !text.contains("\n\\fB\n")), "an option without a name");
    }

    #[test]
    fn text_is_no_request() {
        assert_eq!(roff(".SH x\n'y\na-b\\c"), "\\&.SH x\n\\&'y\na\\-b\\ec");
    }
}
