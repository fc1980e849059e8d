//! Somebody who types what a page says. The page is the one source: its blocks run as they stand, but for words that
//! the page has only as an example, like the name of a host.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel_tests::lab::{Done, Lab, since};
use tempfile::TempDir;
use tokio::time::Instant;

use super::fences::{Block, blocks};

/// What the page's words find first: each does its work on the lab, where the programs behind these are found.
const PROGRAMS: [(&str, &str); 3] = [
    ("evenkeel", "exec LAB keel \"$@\""),
    ("curl", "exec LAB exec lan curl \"$@\""),
    // root@10.0.0.11 is h1, and so on; the rest is the shell's there.
    ("ssh", "host=h$((${1##*.} - 10)); shift; exec LAB exec \"$host\" bash -c \"$*\""),
];

/// A folder, a shell in it, and the page that is followed.
pub struct Desk<'a> {
    pub lab: &'a Lab,
    folder: TempDir,
    page: String,
    /// Those of the section that is followed, as far as they are commands.
    scripts: std::vec::IntoIter<Block>,
}

impl<'a> Desk<'a> {
    /// In front of a section of a page, with nothing typed yet.
    pub fn new(lab: &'a Lab, page: &str, heading: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bin")).expect("a folder");
        let call = format!("{} --name {}", lab.checkout("hack/lab").display(), lab.name());
        for (name, script) in PROGRAMS {
            let path = folder.path().join("bin").join(name);
            let text = format!("#!/bin/bash\nPATH=${{PATH#*:}}\n{}\n", script.replace("LAB", &call));
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a program");
        }
        let scripts = section(lab, page, heading).into_iter().filter(|block| block.language == "sh");
        let scripts = scripts.collect::<Vec<_>>().into_iter();
        Self { lab, folder, page: page.to_owned(), scripts }
    }

    /// A file beside what is typed.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The page's next block.
    fn next_block(&mut self) -> Block {
        self.scripts.next().unwrap_or_else(|| panic!("{} has no more to type", self.page))
    }

    /// What the page's next block says, to be typed with other words in place of the page's examples.
    pub fn next_text(&mut self) -> String {
        self.next_block().text
    }

    /// Types the page's next block, whatever comes of it.
    pub fn next_done(&mut self) -> Done {
        let block = self.next_block();
        let begun = Instant::now();
        let done = self.shell(&block.text);
        println!("-> {}:{}: {:.1} s", self.page, block.line, since(begun));
        Done { what: format!("{}:{}: {}", self.page, block.line, done.what), ..done }
    }

    /// Types the page's next block, which must succeed.
    pub fn next(&mut self) -> String {
        self.next_done().ok()
    }

    /// Nothing of the section is left.
    pub fn is_done(&self) {
        assert_eq!(self.scripts.len(), 0, "{}: not all of it was typed", self.page);
    }

    /// Types something else, in the same shell: what was exported before is there.
    pub fn shell(&self, text: &str) -> Done {
        let script =
            format!("set -euo pipefail; [ ! -e .exported ] || . ./.exported\n{text}\nexport -p >.exported");
        let path = format!("{}:{}", self.file("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(self.folder.path()).env("PATH", path);
        let done = command.output().unwrap_or_else(|error| panic!("bash: {error}"));
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Done {
            what: text.to_owned(),
            code: done.status.code().unwrap_or(-1),
            out: read(&done.stdout),
            err: read(&done.stderr),
        }
    }

    /// The cluster of the first hour: its Network, as that page has it.
    pub fn after_the_first_hour(&self) {
        let blocks = section(self.lab, "docs/first-hour.md", "4. A shop, from a Compose file");
        let network = blocks.iter().find(|block| block.text.contains("kind: Network"));
        self.shell(&network.unwrap_or_else(|| panic!("the first hour has no Network")).text).ok();
    }
}

/// The blocks of a page below one of its headings.
pub fn section(lab: &Lab, page: &str, heading: &str) -> Vec<Block> {
    let path: &Path = &lab.checkout(page);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let headings: Vec<(usize, &str)> =
        text.lines().enumerate().filter(|(_, line)| line.starts_with("## ")).collect();
    let at = headings.iter().position(|(_, line)| line[3..] == *heading);
    let at = at.unwrap_or_else(|| panic!("{page} has no heading «{heading}»"));
    let end = headings.get(at + 1).map_or(usize::MAX, |(line, _)| *line);
    let mut found = blocks(&text);
    found.retain(|block| (headings[at].0..end).contains(&block.line));
    found
}
