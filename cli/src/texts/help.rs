//! What a command says of itself: every one has examples, and takes what they show.

use clap::{Command, CommandFactory};

use super::commands::parse;
use super::shell::{ours, scripts};
use crate::Cli;

/// Every command that does something, with the words that lead to it. What is hidden is no person's.
fn leaves(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
    let below: Vec<&Command> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .collect();
    if below.is_empty() {
        let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.push((path.to_owned(), said));
    }
    for below in below {
        leaves(below, format!("{path} {}", below.get_name()).trim_start(), found);
    }
}

/// The examples of a help text, without what is said of each.
fn examples(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines
        .map_while(|line| line.strip_prefix("  "))
        .map(|line| line.split_once("  ").map_or(line, |(example, _)| example))
        .collect()
}

#[test]
fn every_command_has_examples_of_itself_and_takes_them() {
    let mut all = vec![(String::new(), crate::EXAMPLES.to_owned())];
    leaves(&Cli::command(), "", &mut all);
    let mut wrong = Vec::new();
    for (path, text) in &all {
        let shown = examples(text);
        if shown.is_empty() {
            wrong.push(format!("evenkeel {path}: no examples"));
            continue;
        }
        let commands: Vec<Vec<String>> =
            shown.iter().flat_map(|line| scripts(line)).filter_map(|command| ours(&command)).collect();
        if !commands.iter().any(|words| is_of(words, path)) {
            wrong.push(format!("evenkeel {path}: no example shows it"));
        }
        for words in commands {
            if let Err(error) = parse(&words) {
                wrong.push(format!("evenkeel {path}: {}: {error}", words.join(" ")));
            }
        }
        wrong.extend(
            text.lines().filter(|line| line.chars().count() > WIDEST).map(|line| format!("too wide: {line}")),
        );
    }
    assert!(all.len() > 50, "only {} were found", all.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is shown as it is, and not wrapped.
const WIDEST: usize = 140;

/// Whether a command is the one at `path`, or another name for it: `pause` for `rollout pause`.
fn is_of(words: &[String], path: &str) -> bool {
    let is = |path: &str| words.starts_with(&path.split(' ').map(str::to_owned).collect::<Vec<_>>());
    path.is_empty() || is(path) || path.strip_prefix("rollout ").is_some_and(is)
}
