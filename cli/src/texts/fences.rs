//! What a page sets off as code. The end-to-end cases read it by this very file, too (`tests/e2e/recipes`).

/// A block of a page that is set off as code.
pub struct Block {
    /// The line of its fence.
    pub line: usize,
    /// What stands behind the fence, like `sh`.
    pub language: String,
    pub text: String,
}

/// All blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { line: index + 1, language: language.to_owned(), text: String::new() });
            }
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, None) => {}
        }
    }
    if let Some(block) = open {
        panic!("line {}: a block without an end", block.line);
    }
    blocks
}
