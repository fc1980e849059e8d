//! The texts for people, held to what the program is: documents in them are valid, commands are such, links lead
//! somewhere.

use std::path::{Path, PathBuf};

mod advice;
mod blocks;
mod commands;
mod fences;
mod help;
mod links;
mod shell;

use fences::Block;

/// A page, and where it lies below the checkout.
struct Page {
    name: String,
    text: String,
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below folders whose names end so.
fn below(mut folders: Vec<PathBuf>, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the checkout") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == end) {
                files.push(path);
            }
        }
    }
    files
}

/// Every page that is written for people.
fn pages() -> Vec<Page> {
    let root = checkout();
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(|name| root.join(name)).collect();
    files.extend(below(vec![root.join("docs"), root.join("charts")], "md"));
    files.sort();
    let page = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below the checkout").display().to_string();
        Page { name, text: std::fs::read_to_string(&path).expect("a text") }
    };
    files.into_iter().map(page).collect()
}

impl Page {
    /// Its blocks, each with its place, like `docs/edge.md:12`.
    fn blocks(&self) -> Vec<(String, Block)> {
        let placed = |block: Block| (format!("{}:{}", self.name, block.line), block);
        fences::blocks(&self.text).into_iter().map(placed).collect()
    }

    /// What is set off within its lines, with the numbers of those.
    fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose().flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |span| (line, span)))
    }

    /// Its lines outside of blocks, with their numbers.
    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut inside = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let fence = line.starts_with("```");
            inside ^= fence;
            (!inside && !fence).then_some((index + 1, line))
        })
    }
}
