//! What the program, its alerts and its board advise: every command that they name is one that it takes.

use std::path::Path;

use super::commands::fault;
use super::{below, checkout};

/// Literals of Rust, joined as the compiler joins them.
fn joined(source: &str) -> String {
    let mut parts = source.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| joined + part.trim_start())
}

/// What stands for something else until it is said: `{id}`, `{{ $labels.host }}`.
fn filled(text: &str) -> String {
    let (mut filled, mut depth) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '{' if depth == 0 => {
                depth = 1;
                filled.push('x');
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 0 => filled.push(c),
            _ => {}
        }
    }
    filled
}

/// What is set between backticks.
fn spans(source: &str) -> Vec<String> {
    let spans = source.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    // Where a literal ends before the mark does, so does what it says.
    named(spans.map(|span| span.split('"').next().unwrap_or_default()))
}

/// Whole literals, as `doctor` and `explain` say what helps; what follows a comma is said of the command.
fn literals(source: &str) -> Vec<String> {
    let literals = source.lines().flat_map(|line| line.split('"').skip(1).step_by(2));
    named(literals.map(|text| text.split(',').next().unwrap_or_default()))
}

/// Those that are a command of ours.
fn named<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts
        .filter(|text| text.starts_with("evenkeel ") && !text.starts_with("evenkeel {"))
        .map(filled)
        .collect()
}

/// What of a file's commands does not exist.
fn wrong(path: &Path, read: fn(&str) -> Vec<String>, seen: &mut usize) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a text");
    let found = read(&joined(&text));
    *seen += found.len();
    let place = path.strip_prefix(checkout()).unwrap_or(path).display();
    found.iter().filter_map(|span| fault(span).map(|fault| format!("{place}: {span}: {fault}"))).collect()
}

/// The same, of all sources below some folders, in which there are so many at least.
fn sources(folders: &[&str], read: fn(&str) -> Vec<String>, least: usize) -> Vec<String> {
    let folders = folders.iter().map(|name| checkout().join(name)).collect();
    let mut seen = 0;
    let wrong = below(folders, "rs").iter().flat_map(|path| wrong(path, read, &mut seen)).collect();
    assert!(seen > least, "only {seen} were found");
    wrong
}

#[test]
fn what_the_program_advises_exists() {
    let mut faults = sources(&["api", "cli", "controllers"], spans, 150);
    faults.extend(sources(&["cli/doctor/src", "cli/src/why"], literals, 30));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_alerts_and_board_advise_exists() {
    let observe = checkout().join("charts/observe");
    let mut seen = 0;
    let mut faults = wrong(&observe.join("rules.yaml"), spans, &mut seen);
    assert!(seen > 5, "only {seen} were found");
    let board = std::fs::read_to_string(observe.join("board.json")).expect("the board");
    // A board has no marks around commands.
    for rest in board
        .lines()
        .filter(|line| line.contains("\"description\""))
        .flat_map(|line| line.split("evenkeel ").skip(1))
    {
        let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if let Some(fault) = fault(&format!("evenkeel {word}")) {
            faults.push(format!("charts/observe/board.json: {word}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
