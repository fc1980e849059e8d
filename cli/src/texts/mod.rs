//! The texts for people, held to what the program is: documents in them are valid, commands are such, links lead
//! somewhere.

use std::path::{Path, PathBuf};

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

/// Every page that is written for people.
fn pages() -> Vec<Page> {
    let root = checkout();
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(|name| root.join(name)).collect();
    let mut folders = vec![root.join("docs"), root.join("charts")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the checkout") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                files.push(path);
            }
        }
    }
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
