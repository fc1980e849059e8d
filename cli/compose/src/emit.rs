//! A tree as YAML: one part a line, so that a line of it leads back to the place that it is from.

use evenkeel_api::text::quote::{is_fragile, quote};

use crate::tree::{At, Entry, Node, Value};

/// A document's text.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    /// The text, with a line break at its end.
    pub text: String,
    /// Of each line, where what it says is written.
    pub lines: Vec<At>,
}

/// Writes a mapping.
pub(crate) fn emit(node: &Node) -> Emitted {
    let mut out = Emitted::default();
    out.block(node, 0);
    out
}

impl Emitted {
    fn line(&mut self, indent: usize, text: &str, at: At) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
        self.text.push('\n');
        self.lines.push(at);
    }

    /// The entries or items of a part that has some.
    fn block(&mut self, node: &Node, indent: usize) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|entry| self.entry(entry, indent)),
            Value::List(items) => items.iter().for_each(|item| self.item(item, indent)),
            _ => {}
        }
    }

    fn entry(&mut self, Entry { key, key_at, value }: &Entry, indent: usize) {
        let key = if is_plain(key) { key.clone() } else { quote(key) };
        match &value.value {
            Value::Null => self.line(indent, &format!("{key}:"), *key_at),
            Value::List(items) if items.is_empty() => self.line(indent, &format!("{key}: []"), *key_at),
            Value::Map(entries) if entries.is_empty() => self.line(indent, &format!("{key}: {{}}"), *key_at),
            Value::List(_) | Value::Map(_) => {
                self.line(indent, &format!("{key}:"), *key_at);
                self.block(value, indent + 2);
            }
            Value::Plain(text) | Value::Text(text) => {
                self.scalar(
                    &format!("{key}: "),
                    text,
                    matches!(value.value, Value::Plain(_)),
                    value.at,
                    indent,
                );
            }
        }
    }

    fn item(&mut self, item: &Node, indent: usize) {
        match &item.value {
            Value::Null => self.line(indent, "-", item.at),
            Value::List(items) if items.is_empty() => self.line(indent, "- []", item.at),
            Value::Map(entries) if entries.is_empty() => self.line(indent, "- {}", item.at),
            Value::List(_) | Value::Map(_) => {
                let begin = self.text.len();
                self.block(item, indent + 2);
                self.text.replace_range(begin + indent..begin + indent + 2, "- ");
            }
            Value::Plain(text) | Value::Text(text) => {
                self.scalar("- ", text, matches!(item.value, Value::Plain(_)), item.at, indent);
            }
        }
    }

    /// A scalar after `before`. A dollar means itself in a stored document only when it is doubled.
    fn scalar(&mut self, before: &str, text: &str, unquoted: bool, at: At, indent: usize) {
        let text = text.replace('$', "$$");
        if (unquoted && is_number(&text)) || is_plain(&text) || is_quantity(&text) {
            self.line(indent, &format!("{before}{text}"), at);
        } else if is_block(&text) {
            let head = if text.ends_with('\n') { "|" } else { "|-" };
            self.line(indent, &format!("{before}{head}"), at);
            for line in text.lines() {
                self.line(if line.is_empty() { 0 } else { indent + 2 }, line, at);
            }
        } else {
            self.line(indent, &format!("{before}{}", quote(&text)), at);
        }
    }
}

/// Whether an unquoted scalar is a number or a truth value that every reader takes for the same.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let body = text.strip_prefix('-').unwrap_or(text);
    matches!(text, "true" | "false")
        || (text.len() <= 18 && body.split_once('.').map_or(digits(body), |(a, b)| digits(a) && digits(b)))
}

/// Whether a text is a size, a time or an address, which no reader takes for a number: `256M`, `10.0.0.0/16`.
fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let unit =
        ["ms", "us", "s", "m", "h", "k", "kb", "mb", "M", "MB", "g", "gb", "G", "GB"].contains(&digits);
    let address =
        text.matches('.').count() > 1 && text.bytes().all(|b| b.is_ascii_digit() || b"./".contains(&b));
    text.starts_with(|c: char| c.is_ascii_digit()) && (unit || address)
}

/// Words that some reader takes for something else than text.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Whether a text means itself without quotes, to every reader.
fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || " _./@%+=,:()-$".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text.chars().all(good)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && text.len() <= 160
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a text of several lines can stand as it is, below a `|`.
fn is_block(text: &str) -> bool {
    let good = |c: char| c == '\n' || !is_fragile(c);
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(good)
        && text.lines().all(|line| line.is_empty() || !line.trim().is_empty())
}
