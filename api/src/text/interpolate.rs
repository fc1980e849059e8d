//! Substituting variables before a document is stored.
//!
//! As in Compose, values alone are touched, and YAML is read first: so no value can turn into keys, comments
//! or further lines, whatever it contains. What comes out is text again, with its comments and its layout.

use super::dollar::{Part, name_length, parts};
use super::envelope::of_compose;
use super::error::Fault;
use super::node::{Base, Node, Value, load};
use super::quote::quote;
use super::stream::{self, Piece};

/// Why variables could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct InterpolationError {
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1 in characters.
    pub column: u64,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl From<Fault> for InterpolationError {
    fn from(fault: Fault) -> Self {
        let at = fault.at.unwrap_or_default();
        Self { line: at.line.max(1), column: at.column.max(1), problem: fault.problem.clone() }
    }
}

/// Substitutes the variables of a text, one document or a stream of them, in all of Compose's forms: `$X`,
/// `${X}`, `${X:-default}`, `${X-default}`, `${X:?message}`, `${X?message}`, `${X:+other}` and `${X+other}`.
/// `$$` stays what it is, and a dollar in a value is doubled, so that the stored document means it.
///
/// # Errors
/// A variable without value or default, a message that a document asks for, or text that is no YAML. Unlike
/// Compose, an unset variable is never an empty text: in `${BIND}:80` that would open a port to the world.
pub fn interpolate(text: &str, vars: impl Fn(&str) -> Option<String>) -> Result<String, InterpolationError> {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for piece in stream::split(text) {
        let root = load(piece.text, piece.base)?;
        of_compose(&root)?;
        let mut edits = Vec::new();
        collect(&root, piece, &vars, &mut edits)?;
        let new = splice(piece, edits);
        same(&root, &new, &vars)?;
        out.push_str(text.get(done..piece.base.bytes).unwrap_or_default());
        out.push_str(&new);
        done = piece.base.bytes + piece.text.len();
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(out)
}

/// A document's text with its edits made.
fn splice(piece: Piece<'_>, mut edits: Vec<Edit>) -> String {
    // An anchored text is met once for each of its aliases.
    edits.sort_by_key(|edit| edit.from);
    edits.dedup_by_key(|edit| edit.from);
    let mut out = String::with_capacity(piece.text.len());
    let mut done = 0;
    for edit in edits {
        out.push_str(piece.text.get(done..edit.from).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.from + edit.len;
    }
    out.push_str(piece.text.get(done..).unwrap_or_default());
    out
}

/// One scalar's text, replaced; places are counted in its document.
struct Edit {
    from: usize,
    len: usize,
    text: String,
}

type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

fn collect(node: &Node, piece: Piece<'_>, vars: Vars<'_>, edits: &mut Vec<Edit>) -> Result<(), Fault> {
    match &node.value {
        Value::Text(text) if has_variables(text) => {
            let value = evaluate(text, vars, 0).map_err(|fault| fault.at(node.at))?;
            edits.push(edit(node, text, &value, piece, vars)?);
        }
        Value::List(items) => {
            for item in items {
                collect(item, piece, vars, edits)?;
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                collect(&entry.value, piece, vars, edits)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn has_variables(text: &str) -> bool {
    text.contains('$') && parts(text).iter().any(|part| matches!(part, Part::Variable { .. } | Part::Open))
}

/// How a scalar's new value is written where the old one stands.
fn edit(node: &Node, text: &str, value: &str, piece: Piece<'_>, vars: Vars<'_>) -> Result<Edit, Fault> {
    let (from, len) = (node.at.offset.saturating_sub(piece.base.bytes), node.at.len);
    let raw = piece.text.get(from..from + len).unwrap_or_default();
    let written = if raw.starts_with(['"', '\'']) {
        quote(value)
    } else if is_block(piece.text.get(..from).unwrap_or_default()) {
        // Line by line, in the block's own layout.
        evaluate(raw, vars, 0).map_err(|fault| fault.at(node.at))?
    } else if raw == text && is_plain(value) {
        value.to_owned()
    } else if raw == text || raw.contains('\n') {
        quote(value)
    } else {
        return Err(Fault::new(
            "this text is written in a way in which no variable can be filled in; put it in quotes",
        )
        .at(node.at));
    };
    Ok(Edit { from, len, text: written })
}

/// Whether what stands before a scalar begins a block, `|` or `>`.
fn is_block(before: &str) -> bool {
    let Some((line, indent)) = before.rsplit_once('\n') else { return false };
    let line = line.trim_end_matches(['\n', '\r', ' ']);
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let head = line.trim_end_matches(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    indent.trim().is_empty() && head.ends_with(['|', '>'])
}

/// Whether a value means itself without quotes, in a block as in brackets.
fn is_plain(value: &str) -> bool {
    let item = |list: &Node| match &list.value {
        Value::List(items) => match items.as_slice() {
            [item] => item.text() == Some(value),
            _ => false,
        },
        _ => false,
    };
    !value.is_empty()
        && load(&format!("[{value}]"), Base::default()).is_ok_and(|node| item(&node))
        && load(&format!("- {value}"), Base::default()).is_ok_and(|node| item(&node))
}

/// Makes sure that the new text reads as the old one with its variables filled in, and as nothing else.
fn same(root: &Node, text: &str, vars: Vars<'_>) -> Result<(), Fault> {
    let mut wanted = Vec::new();
    texts(root, &mut |text, node| {
        let value = if has_variables(text) { evaluate(text, vars, 0)? } else { text.to_owned() };
        wanted.push((value, node.at));
        Ok(())
    })?;
    let mut found = Vec::new();
    let first = wanted.first().map(|(_, at)| *at).unwrap_or_default();
    let new = load(text, Base::default()).map_err(|_| unfit().at(first))?;
    texts(&new, &mut |text, _| {
        found.push(text.to_owned());
        Ok(())
    })?;
    let at = wanted.iter().zip(&found).find(|((wanted, _), found)| wanted != *found).map(|((_, at), _)| *at);
    match at {
        Some(at) => Err(unfit().at(at)),
        None if wanted.len() != found.len() => Err(unfit().at(first)),
        None => Ok(()),
    }
}

fn unfit() -> Fault {
    Fault::new("a variable's value does not fit here as it is written; put the text in double quotes")
}

fn texts(node: &Node, each: &mut dyn FnMut(&str, &Node) -> Result<(), Fault>) -> Result<(), Fault> {
    match &node.value {
        Value::List(items) => items.iter().try_for_each(|item| texts(item, each)),
        Value::Map(entries) => entries.iter().try_for_each(|entry| texts(&entry.value, each)),
        _ => node.text().map_or(Ok(()), |text| each(text, node)),
    }
}

/// How deep defaults may hold variables with defaults.
const DEEPEST: usize = 16;

/// A text with its variables filled in; `$$` stays.
fn evaluate(text: &str, vars: Vars<'_>, depth: usize) -> Result<String, Fault> {
    if depth > DEEPEST {
        return Err(Fault::new("variables are nested too deeply"));
    }
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push_str("$$"),
            Part::Open => return Err(Fault::new("`${` has no closing `}`; write `$${` to mean the text")),
            Part::Variable { inner, .. } => out.push_str(&variable(inner, vars, depth)?),
        }
    }
    Ok(out)
}

fn variable(inner: &str, vars: Vars<'_>, depth: usize) -> Result<String, Fault> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(Fault::new(format!(
            "${{{inner}}} names no variable; write $${{{inner}}} to mean the text"
        )));
    }
    let found = vars(name);
    let unset = found.is_none();
    let empty = found.as_deref().is_none_or(str::is_empty);
    let value = |found: Option<String>| match found {
        Some(value) => Ok(value.replace('$', "$$")),
        None => Err(Fault::new(format!(
            "the variable {name} is not set; set it, or give it a default: ${{{name}:-…}}, also an empty one"
        ))),
    };
    let other = |text: &str| evaluate(text, vars, depth + 1);
    let operators = [":-", ":?", ":+", "-", "?", "+"];
    let Some(operator) = operators.into_iter().find(|operator| rest.starts_with(operator)) else {
        if rest.is_empty() {
            return value(found);
        }
        return Err(Fault::new(format!(
            "${{{inner}}}: after {name} one of :- - :? ? :+ + is expected; write $${{{inner}}} to mean the text"
        )));
    };
    let argument = &rest[operator.len()..];
    let missing = if operator.starts_with(':') { empty } else { unset };
    match operator.trim_start_matches(':') {
        "-" if missing => other(argument),
        "?" if missing => {
            let message = other(argument)?;
            let message = if message.is_empty() { "it is required".to_owned() } else { message };
            Err(Fault::new(format!("the variable {name} is missing: {message}")))
        }
        "+" => {
            if missing {
                Ok(String::new())
            } else {
                other(argument)
            }
        }
        _ => value(found),
    }
}
