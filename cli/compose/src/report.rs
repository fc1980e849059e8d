//! What an import tells: line by line what was changed, refused, or needs a decision.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use evenkeel_api::text::tame;
use serde::Serialize;

use crate::tree::At;

/// What became of a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is not in the documents, and neither is the object that needs it.
    Refused,
    /// It is in the documents in Compose's own meaning or in the safest one; a person must say whether that
    /// will do.
    Decide,
    /// It is written otherwise, or left out, and nobody need mind.
    Changed,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Refused => "refused",
            Severity::Decide => "decide",
            Severity::Changed => "changed",
        })
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What became of it.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The column, from 1 in characters.
    pub column: usize,
    /// Where in the file's tree, like `services.web.volumes.0`; empty where it is no key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What happened.
    pub what: String,
    /// What to do; empty where nothing need be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub todo: String,
}

/// All that is told of an import, and the files that it is told of.
#[derive(Debug, Default)]
pub(crate) struct Report {
    files: Vec<Source>,
    told: Vec<Told>,
}

#[derive(Debug)]
struct Source {
    shown: String,
    base: PathBuf,
}

/// Something to be told.
#[derive(Debug)]
pub struct Told {
    /// How much it matters.
    pub severity: Severity,
    /// Where it is written.
    pub at: At,
    /// The whole path of its key.
    pub path: String,
    /// What happened.
    pub what: String,
    /// What to do; may be empty.
    pub todo: String,
    /// Whether only the document's comments say so.
    pub quiet: bool,
}

impl Told {
    /// What a comment says of it.
    pub fn sentence(&self) -> String {
        let todo = if self.todo.is_empty() { String::new() } else { format!("; {}", self.todo) };
        format!("{}: {}{todo}", self.path, self.what)
    }
}

impl Report {
    /// A file that is read now; relative paths in it begin at `base`.
    pub fn file(&mut self, path: &Path, base: PathBuf) -> usize {
        let shown =
            if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
        self.files.push(Source { shown, base });
        self.files.len() - 1
    }

    /// Where relative paths begin that are written at a place.
    pub fn base(&self, at: At) -> &Path {
        self.files.get(at.file).map_or(Path::new(""), |source| &source.base)
    }

    /// Where relative paths begin, of each file.
    pub fn bases(&self) -> Vec<PathBuf> {
        self.files.iter().map(|source| source.base.clone()).collect()
    }

    /// The file of a place.
    pub fn shown(&self, at: At) -> &str {
        self.files.get(at.file).map_or("", |source| &source.shown)
    }

    /// Tells something.
    pub fn add(
        &mut self,
        severity: Severity,
        at: At,
        path: impl Into<String>,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) {
        let (path, what, todo) = (path.into(), what.into(), todo.into());
        self.told.push(Told { severity, at, path, what, todo, quiet: false });
    }

    /// Tells what is not left to a document's comments.
    pub fn tell(&mut self, told: Vec<Told>) {
        self.told.extend(told.into_iter().filter(|told| !told.quiet));
    }

    /// All of it in the order of the files, each thing once.
    pub fn findings(mut self) -> Vec<Finding> {
        self.told.sort_by_key(|told| (told.at, told.severity));
        let mut findings: Vec<Finding> = Vec::new();
        let mut seen = BTreeSet::new();
        for Told { severity, at, path, what, todo, .. } in std::mem::take(&mut self.told) {
            let file = self.shown(at).to_owned();
            // What came by an anchor is told once, however many services have it.
            if seen.insert((severity, file.clone(), at.line, at.column, what.clone())) {
                findings.push(Finding { severity, file, line: at.line, column: at.column, path, what, todo });
            }
        }
        findings
    }
}

/// The longest text of a finding: it may quote a stranger's file.
const LONGEST: usize = 400;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", tame(&self.path, LONGEST))?;
        }
        f.write_str(&tame(&self.what, LONGEST))?;
        if !self.todo.is_empty() {
            write!(f, "; {}", tame(&self.todo, LONGEST))?;
        }
        Ok(())
    }
}
