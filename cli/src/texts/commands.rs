//! Every command line of `evenkeel` in the texts is one that it takes.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use evenkeel_api::key::Controller;

use super::shell::{ours, run, scripts};
use super::{checkout, pages};
use crate::Cli;

pub fn parse(arguments: &[String]) -> Result<(), clap::Error> {
    Cli::try_parse_from(std::iter::once("evenkeel").chain(arguments.iter().map(String::as_str))).map(drop)
}

#[test]
fn every_command_of_a_block_is_taken() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (place, block) in pages().iter().flat_map(|page| page.blocks()) {
        if !["sh", ""].contains(&block.language.as_str()) {
            continue;
        }
        for command in scripts(&block.text) {
            let Some(arguments) = ours(&command) else { continue };
            seen += 1;
            if let Err(error) = parse(&arguments) {
                wrong.push(format!("{place}: {}: {error}", command.join(" ")));
            }
        }
    }
    assert!(seen > 50, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `a|b c` as `a c` and `b c`.
fn alternatives(words: &[String]) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for word in words {
        let choices: Vec<&str> = word.split('|').collect();
        all = all
            .iter()
            .flat_map(|begun| {
                choices.iter().map(|choice| [begun.as_slice(), &[(*choice).to_owned()]].concat())
            })
            .collect();
    }
    all
}

/// What is wrong with a command that is named in running text. There it is often cut short: what it lacks is no fault, what
/// does not exist is one.
pub fn fault(span: &str) -> Option<String> {
    let span = span.split(['>', '<', '…']).next().unwrap_or_default();
    let words: Vec<String> = span.split_whitespace().skip(1).map(str::to_owned).collect();
    alternatives(&words).iter().find_map(|words| {
        let error = parse(words).err()?;
        let exists = !matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
        (!exists).then(|| error.to_string())
    })
}

#[test]
fn every_command_that_is_named_exists() {
    let cli = Cli::command();
    let mut wrong = Vec::new();
    for page in pages() {
        for (line, span) in page.spans() {
            let span = match span {
                span if span == "evenkeel" || span.starts_with("evenkeel ") => span.to_owned(),
                span if is_short(&cli, span) => format!("evenkeel {span}"),
                _ => continue,
            };
            wrong.extend(fault(&span).map(|fault| format!("{}:{line}: {span}: {fault}", page.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a span is clearly a command without the program's name, as in tables: `host remove h2`, `apply --wait`.
fn is_short(cli: &Command, span: &str) -> bool {
    let mut words = span.split_whitespace();
    let Some(command) = words.next().and_then(|word| cli.find_subcommand(word)) else { return false };
    words.next().is_some_and(|word| match command.has_subcommands() {
        true => word.split('|').all(|word| command.find_subcommand(word).is_some()),
        false => word.starts_with('-'),
    })
}

#[test]
fn commands_are_known_without_the_programs_name_where_that_is_clear() {
    let cli = Cli::command();
    for (span, short) in [
        ("host remove h2 --dead", true),
        ("host add|remove|ticket", true),
        ("apply --wait", true),
        ("host h2", false),
        ("etcd is not reachable", false),
        ("apply", false),
        ("x-host remove", false),
    ] {
        assert_eq!(is_short(&cli, span), short, "{span}");
    }
}

/// Scripts of the checkout, and of hosts, by what runs them.
fn script(word: &str) -> Option<PathBuf> {
    if word.starts_with("hack/") {
        return Some(checkout().join(word));
    }
    let name = word.strip_prefix("evenkeel-").filter(|name| !name.contains(['/', '.', '=']))?;
    // Containers with one controller are named as it is.
    let runs = name != "host" && name.parse::<Controller>().is_ok();
    (!runs).then(|| checkout().join("charts/host").join(word))
}

#[test]
fn every_script_that_is_named_exists() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let blocks = page.blocks();
        let in_blocks = blocks
            .iter()
            .map(|(_, block)| block)
            .filter(|block| ["sh", ""].contains(&block.language.as_str()));
        let in_blocks = in_blocks.flat_map(|block| scripts(&block.text));
        let in_text = page.spans().flat_map(|(_, span)| scripts(span));
        for command in in_blocks.chain(in_text) {
            let Some(word) = run(&command).into_iter().next() else { continue };
            let Some(path) = script(&word) else { continue };
            seen += 1;
            if !path.exists() {
                wrong.push(format!("{}: {word}", page.name));
            }
        }
    }
    assert!(seen > 30, "only {seen} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
