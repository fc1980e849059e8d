//! Files and variables from memory.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evenkeel_api::text::{Origin, parse_documents};
use evenkeel_compose::{Import, NoFile, Options, World, import};

/// A world in memory, whose folder is `/srv/shop`.
#[derive(Debug, Default)]
pub struct Memory {
    pub files: BTreeMap<PathBuf, String>,
    pub variables: BTreeMap<String, String>,
}

impl World for Memory {
    fn read(&self, path: &Path) -> Result<String, NoFile> {
        self.files.get(path).cloned().ok_or(NoFile::Missing)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/srv/shop")
    }
}

impl Memory {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        Self { files, variables: BTreeMap::new() }
    }

    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Imports files into the namespace `shop`, and makes sure that every document is valid.
pub fn run(world: &Memory, files: &[&str], profiles: &[&str]) -> Import {
    let options = Options {
        files: files.iter().map(PathBuf::from).collect(),
        profiles: profiles.iter().map(|profile| (*profile).to_owned()).collect(),
        namespace: Some("shop".parse().expect("a namespace")),
        ..Options::default()
    };
    let imported = import(&options, world);
    check(&imported);
    imported
}

/// Every document is valid, and those that are refused are comments.
pub fn check(imported: &Import) {
    let text = imported.documents();
    let documents = parse_documents(&text, &Origin::file("imported"));
    for document in &documents {
        document.as_ref().unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    assert_eq!(documents.len(), imported.imported(), "{text}");
    for finding in &imported.findings {
        assert!(!finding.what.is_empty() && !finding.to_string().contains('\n'), "{finding:?}");
    }
}

/// The report, a finding a line.
pub fn report(imported: &Import) -> String {
    imported.findings.iter().map(|finding| format!("{finding}\n")).collect()
}
