//! Every command line of `evenkeel` in the texts is one that it takes.

use clap::Parser;
use clap::error::ErrorKind;

use super::pages;
use crate::Cli;

/// The simple commands of a script, as words; what is fed to them is left out. Knows of the shell what the texts use.
fn scripts(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut until: Option<String> = None;
    for line in text.replace("\\\n", " ").lines() {
        if let Some(end) = &until {
            if line.trim() == end {
                until = None;
            }
            continue;
        }
        until = line.split_once("<<").map(|(_, end)| {
            end.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '"', '-']).to_owned()
        });
        commands.extend(words(line));
    }
    commands
}

fn words(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut command, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => command.extend(word.take()),
            (None, ';' | '|' | '&' | '(' | ')') => {
                command.extend(word.take());
                commands.push(std::mem::take(&mut command));
            }
            (None, '<' | '>') => {
                // A number before it is the stream's; what follows is a file.
                word.take_if(|word| word.parse::<u8>().is_ok());
                command.extend(word.take());
                while chars.next_if(|c| matches!(c, '<' | '>' | '&') || c.is_whitespace()).is_some() {}
                while chars.next_if(|c| !c.is_whitespace() && *c != ';').is_some() {}
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    command.extend(word);
    commands.push(command);
    commands
}

/// The arguments of `evenkeel`, if that is what a command runs; the lab's alias, too.
fn ours(command: &[String]) -> Option<&[String]> {
    let at = command.iter().position(|word| !word.contains('='))?;
    match command[at].as_str() {
        "evenkeel" | "keel" => Some(&command[at + 1..]),
        "hack/lab" => {
            let at = command.iter().position(|word| word == "keel")?;
            Some(&command[at + 1..])
        }
        _ => None,
    }
}

fn parse(arguments: &[String]) -> Result<(), clap::Error> {
    Cli::try_parse_from(std::iter::once("evenkeel").chain(arguments.iter().map(String::as_str))).map(drop)
}

#[test]
fn scripts_are_read_as_the_shell_does() {
    let script = "A=1 evenkeel apply -f a.yaml --wait   # all of it\ncat >x <<'EOF'\nevenkeel nonsense\nEOF\n\
                  evenkeel import c.yaml 2>report >s.yaml && evenkeel \\\n  status | head\nalias keel='hack/lab keel'\n";
    let found: Vec<String> =
        scripts(script).iter().filter_map(|command| ours(command)).map(|words| words.join(" ")).collect();
    assert_eq!(found, ["apply -f a.yaml --wait", "import c.yaml", "status"]);
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
            if let Err(error) = parse(arguments) {
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
