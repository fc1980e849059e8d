//! A command line split into words as a POSIX shell splits it, without variables, globs or pipes.

/// The words of a line.
///
/// # Errors
/// A quote that is not closed, or a backslash at the end.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => quoted(&mut chars, word.get_or_insert_default(), '\'')?,
            '"' => quoted(&mut chars, word.get_or_insert_default(), '"')?,
            '\\' => match chars.next() {
                // A line continued.
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a backslash at the end has nothing to escape".to_owned()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String, quote: char) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') => {}
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(format!("the quote {quote} is not closed; write the command as a list if it is meant as text"))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn lines_split_as_a_shell_would() {
        for (line, words) in [
            ("", &[][..]),
            ("  a  b\n c ", &["a", "b", "c"]),
            ("sh -c 'a && b'", &["sh", "-c", "a && b"]),
            (r#"a "b c" d\ e "\"" '\'"#, &["a", "b c", "d e", "\"", "\\"]),
            ("a''b ''", &["ab", ""]),
            ("a \\\n b", &["a", "b"]),
            (r#""\n""#, &["\\n"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert!(split("it's").is_err());
        assert!(split("a\\").is_err());
    }
}
