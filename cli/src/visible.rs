//! Texts that hosts and containers chose, as a terminal may be given them: what would move its cursor, change its title or
//! answer for the person stands there as it is written, and does nothing.

use std::borrow::Cow;
use std::fmt::Write;

const ESCAPE: char = '\u{1b}';

/// A text of one of ours, in which somebody else's may be.
pub fn text(text: &str) -> Cow<'_, str> {
    match text.chars().any(must_not) {
        true => Cow::Owned(escaped(text.as_bytes(), false).0),
        false => Cow::Borrowed(text),
    }
}

/// A line that may have colours; they end with it.
pub fn line(line: &[u8]) -> Cow<'_, [u8]> {
    if str::from_utf8(line).is_ok_and(|text| !text.chars().any(must_not)) {
        return Cow::Borrowed(line);
    }
    let (mut shown, has_colours) = escaped(line, true);
    if has_colours {
        let end = shown.trim_end_matches(['\r', '\n']).len();
        shown.insert_str(end, "\u{1b}[0m");
    }
    Cow::Owned(shown.into_bytes())
}

fn must_not(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// With what a terminal would obey as it is written, and whether there are colours in it.
fn escaped(bytes: &[u8], colours: bool) -> (String, bool) {
    let (mut shown, mut has_colours) = (String::with_capacity(bytes.len() + 16), false);
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(c) = rest.chars().next() {
            let colour = if colours { colour(rest) } else { 0 };
            let length = match c {
                ESCAPE if colour > 0 => {
                    has_colours = true;
                    colour
                }
                // An end of a line that came over a terminal; alone, it would let the line be written over.
                '\r' if rest.starts_with("\r\n") => 2,
                c if must_not(c) => {
                    let _infallible = write!(shown, "\\x{:02x}", u32::from(c));
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
                c => c.len_utf8(),
            };
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        for byte in chunk.invalid() {
            let _infallible = write!(shown, "\\x{byte:02x}");
        }
    }
    (shown, has_colours)
}

/// How long the sequence for a colour is with which `text` begins; 0: it begins with none.
fn colour(text: &str) -> usize {
    let Some(numbers) = text.strip_prefix("\u{1b}[") else { return 0 };
    let after = numbers.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':');
    if after.starts_with('m') { text.len() - after.len() + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_in_a_text() {
        for (given, shown) in [
            ("host h1: no\n  such\tthing é", "host h1: no\n  such\tthing é"),
            ("\u{1b}]0;title\u{7}\u{1b}[2J", "\\x1b]0;title\\x07\\x1b[2J"),
            ("red \u{1b}[31m", "red \\x1b[31m"),
            ("gone\rwritten over", "gone\\x0dwritten over"),
            ("\u{9b}2J\u{7f}", "\\x9b2J\\x7f"),
        ] {
            assert_eq!(text(given), shown);
        }
    }

    #[test]
    fn a_line_has_its_colours_and_nothing_else() {
        for (given, shown) in [
            (&b"plain\n"[..], &b"plain\n"[..]),
            (b"over a terminal\r\n", b"over a terminal\r\n"),
            (b"\x1b[1;31mred\x1b[0m\n", b"\x1b[1;31mred\x1b[0m\x1b[0m\n"),
            (b"\x1b[38:5:1mred", b"\x1b[38:5:1mred\x1b[0m"),
            (b"\x1b[2Jx\x1b[31;1\x1b[5n\x1b", b"\\x1b[2Jx\\x1b[31;1\\x1b[5n\\x1b"),
            (b"\xff\x9b2J \xc3\xa9\n", "\\xff\\x9b2J é\n".as_bytes()),
        ] {
            assert_eq!(line(given).escape_ascii().to_string(), shown.escape_ascii().to_string());
        }
    }
}
