//! Filling variables in, as Compose does: in values alone, after YAML was read and before anything is
//! understood. What is lacking is kept at its place instead of being told at once: a variable of a service that
//! is not imported concerns nobody.

use evenkeel_api::text::dollar::{Part, name_length, parts};

use crate::tree::{Lack, Node, Value};

/// Where variables come from.
pub(crate) type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How deep defaults may hold variables with defaults.
const DEEPEST: usize = 16;
/// The longest text that variables may make of a scalar.
const LONGEST: usize = 256 * 1024;

/// Fills in the variables of all values of a tree.
pub(crate) fn fill(node: &mut Node, vars: Vars<'_>) {
    match &mut node.value {
        Value::Plain(text) | Value::Text(text) if text.contains('$') => {
            let (filled, lack) = text_of(text, vars);
            // Text from now on, as to Compose: `022` from a variable is no octal number.
            node.value = Value::Text(filled);
            node.lack = lack;
        }
        Value::List(items) => items.iter_mut().for_each(|item| fill(item, vars)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.value, vars)),
        _ => {}
    }
}

/// A text with its variables filled in, and what was lacking.
pub(crate) fn text_of(text: &str, vars: Vars<'_>) -> (String, Option<Lack>) {
    let mut unset = Vec::new();
    match evaluate(text, vars, &mut unset, 0) {
        Ok(filled) if unset.is_empty() => (filled, None),
        Ok(filled) => (filled, Some(Lack::Unset(unset))),
        Err(problem) => (text.to_owned(), Some(Lack::Broken(problem))),
    }
}

fn evaluate(text: &str, vars: Vars<'_>, unset: &mut Vec<String>, depth: usize) -> Result<String, String> {
    if depth > DEEPEST {
        return Err("variables are nested too deeply".to_owned());
    }
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push('$'),
            Part::Open => return Err("`${` has no closing `}`; write `$${` to mean the text".to_owned()),
            Part::Variable { inner, .. } => out.push_str(&variable(inner, vars, unset, depth)?),
        }
        if out.len() > LONGEST {
            return Err(format!("variables make more than {} KiB of this text", LONGEST / 1024));
        }
    }
    Ok(out)
}

fn variable(inner: &str, vars: Vars<'_>, unset: &mut Vec<String>, depth: usize) -> Result<String, String> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(format!("${{{inner}}} names no variable; write $${{{inner}}} to mean the text"));
    }
    let value = vars(name);
    if rest.is_empty() {
        return Ok(value.unwrap_or_else(|| {
            unset.push(name.to_owned());
            String::new()
        }));
    }
    let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let (operator, argument) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
    let value = value.filter(|value| !(colon && value.is_empty()));
    match (operator, value) {
        ("-" | "?", Some(value)) => Ok(value),
        ("-", None) | ("+", Some(_)) => evaluate(argument, vars, unset, depth + 1),
        ("+", None) => Ok(String::new()),
        ("?", None) => {
            let message = evaluate(argument, vars, &mut Vec::new(), depth + 1)?;
            let message = if message.is_empty() { "it is required".to_owned() } else { message };
            Err(format!("the variable {name} is missing: {message}; set it, or write it into an --env-file"))
        }
        _ => Err(format!("${{{inner}}}: after {name} one of :- - :? ? :+ + is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_filled_in_as_compose_does() {
        let vars = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (text, filled) in [
            ("$A ${A}", "a a"),
            ("${A:-d} ${E:-d} ${U:-d}", "a d d"),
            ("${A-d} ${E-d} ${U-d}", "a  d"),
            ("${A:?m} ${A?m} ${E?m}", "a a "),
            ("${A:+y} ${E:+y} ${U:+y}|", "y  |"),
            ("${A+y} ${E+y} ${U+y}|", "y y |"),
            ("${U:-${E:-${A}}}", "a"),
            ("${U:-}", ""),
            ("$$A $${A} $$$A", "$A ${A} $a"),
            ("$2a$14$ $. a$", "$2a$14$ $. a$"),
            ("${U:-$2a$14$}", "$2a$14$"),
        ] {
            let (text, lack) = text_of(text, &vars);
            assert_eq!((text.as_str(), lack), (filled, None));
        }
        assert_eq!(text_of("[$U$V]", &vars), ("[]".into(), Some(Lack::Unset(vec!["U".into(), "V".into()]))));
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        for (text, problem) in [
            ("${U:?set it}", "the variable U is missing: set it"),
            ("${U?}", "it is required"),
            ("${", "no closing"),
            ("${1}", "names no variable"),
            ("${A!x}", "is expected"),
        ] {
            match text_of(text, &|_| None).1 {
                Some(Lack::Broken(found)) => assert!(found.contains(problem), "{found}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = "${A:-".repeat(40) + &"}".repeat(40);
        assert!(matches!(text_of(&deep, &|_| None).1, Some(Lack::Broken(_))));
    }
}
