//! Files of `NAME=value` lines: `.env`, `--env-file`, `env_file` and `label_file`.

use evenkeel_api::text::dollar::name_length;

use crate::interpolate::{Vars, text_of};
use crate::tree::Lack;

/// One line's variable; without a value it is taken from the environment, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub name: String,
    pub value: Option<String>,
    pub line: usize,
    /// Variables in the value that are not set and have no default.
    pub unset: Vec<String>,
}

/// The variables of a file. `vars` are for variables in values; the file's own, above, come after them. A `raw`
/// file means each line as it stands.
///
/// # Errors
/// The line, and what is wrong with it.
pub(crate) fn read(text: &str, vars: Vars<'_>, raw: bool) -> Result<Vec<Variable>, (usize, String)> {
    let mut found: Vec<Variable> = Vec::new();
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim_start();
        if line.trim_end().is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let Some(at) = line.find(['=', ':']).filter(|_| !raw).or_else(|| line.find('=')) else {
            let name = name(line.trim_end(), number)?;
            found.push(Variable { name, value: None, line: number, unset: Vec::new() });
            continue;
        };
        let name = name(line[..at].trim_end(), number)?;
        let rest = &line[at + 1..];
        let (value, unset) = if raw {
            (rest.to_owned(), Vec::new())
        } else {
            let rest = rest.trim_start();
            let (value, fill) = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => quoted(&rest[1..], quote, &mut lines, number)?,
                _ => (bare(rest).to_owned(), true),
            };
            if fill { filled(&value, vars, &found, number)? } else { (value, Vec::new()) }
        };
        found.push(Variable { name, value: Some(value), line: number, unset });
    }
    Ok(found)
}

fn name(text: &str, line: usize) -> Result<String, (usize, String)> {
    // Compose takes dots and dashes here as well.
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
    if !text.is_empty() && text.chars().all(good) && (name_length(text) > 0) {
        return Ok(text.to_owned());
    }
    Err((line, "this is no line of the form NAME=value".to_owned()))
}

/// A value without quotes, up to its comment.
fn bare(text: &str) -> &str {
    let comment = text
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || text[..*at].ends_with(char::is_whitespace)));
    text[..comment.map_or(text.len(), |(at, _)| at)].trim_end()
}

/// A value in quotes, which may go over several lines, and whether it can hold variables.
fn quoted<'t>(
    first: &'t str,
    quote: char,
    lines: &mut impl Iterator<Item = (&'t str, usize)>,
    number: usize,
) -> Result<(String, bool), (usize, String)> {
    let mut value = String::new();
    let mut line = first;
    loop {
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                c if c == quote => return Ok((value, quote == '"')),
                '\\' if quote == '"' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some('$') => value.push_str("$$"),
                    Some(c) => value.push(c),
                    None => {}
                },
                c => value.push(c),
            }
        }
        let Some((next, _)) = lines.next() else {
            return Err((number, format!("the quote {quote} is not closed")));
        };
        value.push('\n');
        line = next;
    }
}

fn filled(
    text: &str,
    vars: Vars<'_>,
    above: &[Variable],
    line: usize,
) -> Result<(String, Vec<String>), (usize, String)> {
    let vars = |name: &str| {
        let own = || above.iter().rev().find(|variable| variable.name == name)?.value.clone();
        vars(name).or_else(own)
    };
    match text_of(text, &vars) {
        (_, Some(Lack::Broken(problem))) => Err((line, problem)),
        (value, Some(Lack::Unset(unset))) => Ok((value, unset)),
        (value, None) => Ok((value, Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, raw: bool) -> Vec<(String, Option<String>)> {
        let vars = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        read(text, &vars, raw).unwrap().into_iter().map(|found| (found.name, found.value)).collect()
    }

    #[test]
    fn lines_are_read_as_compose_does() {
        for (text, name, value) in [
            ("A=1 # one", "A", Some("1")),
            ("export A = b c ", "A", Some("b c")),
            ("A: yaml", "A", Some("yaml")),
            ("A=a#b", "A", Some("a#b")),
            ("A=", "A", Some("")),
            ("A", "A", None),
            ("A='$HOME # \"x\"' # y", "A", Some("$HOME # \"x\"")),
            (r#"A="$HOME\n\$x""#, "A", Some("/home/me\n$x")),
            ("A=${HOME}/${NOT:-d}", "A", Some("/home/me/d")),
            ("A=\"one\ntwo\"", "A", Some("one\ntwo")),
        ] {
            assert_eq!(pairs(text, false), [(name.to_owned(), value.map(str::to_owned))], "{text}");
        }
        assert_eq!(pairs("# c\n\nA=1\nB=${A}2", false)[1].1.as_deref(), Some("12"));
        assert_eq!(pairs("A='$x' # y", true)[0].1.as_deref(), Some("'$x' # y"));
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, line) in [("A=1\n=2", 2), ("\nA='x", 2), ("a b", 1), ("A=${X:?no}", 1)] {
            assert_eq!(read(text, &|_| None, false).unwrap_err().0, line, "{text}");
        }
    }
}
