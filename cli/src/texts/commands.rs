//! Every command line of `evenkeel` in the texts is one that it takes.

use clap::Parser;
use clap::error::ErrorKind;

use super::pages;
use super::shell::{ours, scripts};
use crate::Cli;

pub fn parse(arguments: &[String]) -> Result<(), clap::Error> {
    Cli::try_parse_from(std::iter::once("evenkeel").chain(arguments.iter().map(String::as_str))).map(drop)
}

#[test]
fn every_command_of_a_block_is_taken() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (place, block) in pages().iter().flat_map(|page| page.blocks()) {
        if block.language != "sh" {
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

/// In running text a command is often only named: what it lacks is no fault, what does not exist is one.
#[test]
fn every_command_that_is_named_exists() {
    let mut wrong = Vec::new();
    for page in pages() {
        for (line, text) in page.prose() {
            let spans = text.split('`').skip(1).step_by(2);
            for span in spans.filter(|span| *span == "evenkeel" || span.starts_with("evenkeel ")) {
                let span = span.split(['>', '<', '…']).next().unwrap_or_default();
                let words: Vec<String> = span.split_whitespace().skip(1).map(str::to_owned).collect();
                for words in alternatives(&words) {
                    let Err(error) = parse(&words) else { continue };
                    if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) {
                        wrong.push(format!("{}:{line}: {}: {error}", page.name, words.join(" ")));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
