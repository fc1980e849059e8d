//! `$` in texts: `$$` is a dollar, `${NAME}` and `$NAME` are variables.

use super::error::Fault;
use super::node::{Node, Value};

/// What a text with dollars is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text as it stands, lone dollars included.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// `$NAME`, or `${…}` with what stands between the braces.
    Variable {
        /// Whether it stands in braces.
        braced: bool,
        /// Its name; in braces also what follows it there.
        inner: &'a str,
    },
    /// `${` without its `}`.
    Open,
}

/// Cuts a text at its dollars.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        let (part, used) = if after.starts_with('$') {
            (Some(Part::Dollar), 1)
        } else if let Some(inner) = after.strip_prefix('{') {
            match closing(inner) {
                Some(end) => (Some(Part::Variable { braced: true, inner: &inner[..end] }), end + 2),
                None => (Some(Part::Open), 1),
            }
        } else {
            let end = name_length(after);
            ((end > 0).then(|| Part::Variable { braced: false, inner: &after[..end] }), end)
        };
        // A lone dollar is text: passwords and regular expressions are full of them.
        let text_end = if part.is_some() { at } else { at + 1 };
        if text_end > 0 {
            parts.push(Part::Text(&rest[..text_end]));
        }
        parts.extend(part);
        rest = &after[used..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// How many bytes of `text` are a variable's name.
pub fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Where the brace closes that was opened before `inner`; defaults may hold variables of their own.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in inner.char_indices() {
        match c {
            '{' if inner[..at].ends_with('$') => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Brings the texts of a stored document to what they mean: `$$` to `$`. A variable is an error, since nobody
/// knows whose environment would be meant; an empty text in its place could open a port to the world.
pub(crate) fn unescape(node: &mut Node) -> Result<(), Fault> {
    match &mut node.value {
        Value::Null | Value::Bool(_) | Value::Number(..) => {}
        Value::Text(text) => {
            if text.contains('$') {
                *text = plain(text).map_err(|fault| fault.at(node.at))?;
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                unescape(item).map_err(|fault| fault.within(index.to_string()))?;
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                unescape(&mut entry.value).map_err(|fault| fault.within(entry.key.clone()))?;
            }
        }
    }
    Ok(())
}

fn plain(text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push('$'),
            Part::Variable { braced, inner } => {
                let shown = if braced { format!("${{{inner}}}") } else { format!("${inner}") };
                return Err(Fault::new(format!(
                    "the variable {shown} is still in the document, which nobody can fill in once it is \
                     stored; substitute it first (`evenkeel apply` does), or write ${shown} to mean the text"
                )));
            }
            Part::Open => {
                return Err(Fault::new("`${` has no closing `}`; write `$${` to mean the text"));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Part, parts, plain};

    #[test]
    fn dollars() {
        for (text, meant) in [
            ("", ""),
            ("a$", "a$"),
            ("$2a$14$", "$2a$14$"),
            ("$$HOME", "$HOME"),
            ("$$$$", "$$"),
            ("100$ $. é$é", "100$ $. é$é"),
            ("($$|/)", "($|/)"),
        ] {
            assert_eq!(plain(text).unwrap(), meant, "{text}");
        }
        assert!(plain("${X}").unwrap_err().problem.contains("write $${X} to mean the text"));
        assert!(plain("a$X").unwrap_err().problem.contains("the variable $X is"));
        assert!(plain("${X").unwrap_err().problem.contains("no closing"));
        assert_eq!(
            parts("${A:-${B:-}}c"),
            [Part::Variable { braced: true, inner: "A:-${B:-}" }, Part::Text("c")]
        );
    }
}
