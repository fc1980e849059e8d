//! A stream of documents, cut at its markers before anything is parsed: so one document that cannot be
//! parsed hides none of the others.

use super::node::Base;

/// One document's text, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub text: &'a str,
    pub base: Base,
}

impl Piece<'_> {
    /// Whether there is nothing but comments, white space and directives.
    fn is_empty(&self) -> bool {
        self.text.lines().map(str::trim).all(|line| {
            line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "\u{feff}"
        })
    }
}

/// Cuts a stream into its documents, empty ones left out. YAML takes a marker at the beginning of a line for
/// one wherever it stands, in quotes and block texts too; JSON cannot contain one.
pub(crate) fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut piece = Start { line: 0, byte: 0, column: 0 };
    let mut byte = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        if let Some(marker) = marker(content) {
            pieces.push(piece.until(text, byte));
            // What follows `---` on its line belongs to the document.
            piece = Start { line: line as u64, byte: byte + marker, column: marker as u64 };
        }
        byte += content.len();
    }
    pieces.push(piece.until(text, text.len()));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// How many bytes of a line are a document marker.
fn marker(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."))?;
    rest.chars().next().is_none_or(char::is_whitespace).then_some(3)
}

struct Start {
    line: u64,
    byte: usize,
    column: u64,
}

impl Start {
    fn until<'a>(&self, text: &'a str, end: usize) -> Piece<'a> {
        Piece {
            text: text.get(self.byte..end).unwrap_or_default(),
            base: Base { lines: self.line, bytes: self.byte, columns: self.column },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn streams_are_cut_and_empty_documents_left_out() {
        let pieces = split("# head\n---\na: 1\n---\n\n--- {b: 2}\n...\n%YAML 1.2\n---\nc: 3\n");
        let found: Vec<_> = pieces.iter().map(|p| (p.text.trim(), p.base.lines)).collect();
        assert_eq!(found, [("a: 1", 1), ("{b: 2}", 5), ("c: 3", 8)]);
        assert_eq!(split("a: ---\nb: |\n  ---\n").len(), 1);
        assert_eq!(split("").len(), 0);
    }
}
