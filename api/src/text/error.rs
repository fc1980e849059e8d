//! What is wrong with a document, told so that a person can mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a document was refused: where, what, and what to write instead.
///
/// `Display` is for terminals, over several lines with the place marked; [`DocumentError::one_line`] is for
/// a status or a log.
/// Its fields are those of [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
// Boxed, since it travels in results whose other half is small.
pub struct DocumentError(Box<Problem>);

impl std::ops::Deref for DocumentError {
    type Target = Problem;
    fn deref(&self) -> &Problem {
        &self.0
    }
}

/// What a [`DocumentError`] tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file or the store key.
    pub origin: String,
    /// The line, counted from 1 in the whole file.
    pub line: u64,
    /// The column, counted from 1 in characters.
    pub column: u64,
    /// Where in the document, like `spec.deploy.replicas`; empty at its top.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong, and what to do.
    pub problem: String,
    /// The known word that is nearest to an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The line of text at that place; of a long one, the part around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// Where in `source_line` the fault begins, counted from 0 in characters.
    pub caret: u64,
    /// How many characters are at fault from there on, at least 1.
    pub width: u64,
    /// Further problems of the same document, found in the same reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<DocumentError>,
}

impl DocumentError {
    /// The problem with its place on one line: «line 14, column 7: unknown key `replica`, did you mean
    /// `replicas`?». Of further problems it tells the number.
    pub fn one_line(&self) -> String {
        let more = match self.also.len() {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        format!("line {}, column {}: {}{more}", self.line, self.column, self.sentence())
    }

    /// The problem with the suggestion, without the place.
    pub fn sentence(&self) -> String {
        match &self.suggestion {
            Some(near) => format!("{}, did you mean `{near}`?", self.problem),
            None => self.problem.clone(),
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)?;
        self.also.iter().try_for_each(|also| {
            f.write_str("\n")?;
            also.show(f)
        })
    }
}

impl DocumentError {
    /// The problem with its place marked, over several lines.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.origin, self.line, self.column, self.sentence())?;
        let Some(source) = &self.source_line else { return Ok(()) };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let count = |n: u64| usize::try_from(n).unwrap_or(0).min(WINDOW);
        let (space, mark) = (" ".repeat(count(self.caret)), "^".repeat(count(self.width).max(1)));
        write!(f, "\n{gutter} |\n{number} | {source}\n{gutter} | {space}{mark}")?;
        if !self.path.is_empty() {
            write!(f, "\n{gutter} = in {}", self.path)?;
        }
        Ok(())
    }
}

/// The longest part of a source line that is kept.
const WINDOW: usize = 120;
/// The most further problems that are told with the first.
const MOST: usize = 20;
/// The longest message: a key may be as long as a document, and messages end in the store.
const LONGEST: usize = 600;

/// The part of a line around a column, counted from 0, and where the column is in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    let from = if length <= WINDOW { 0 } else { column.saturating_sub(WINDOW / 2).min(length - WINDOW) };
    let shown: String =
        line.chars().skip(from).take(WINDOW).map(|c| if c == '\t' { ' ' } else { c }).collect();
    (tame(&shown, WINDOW), column.saturating_sub(from))
}

/// A stranger's text for people: without what a terminal would obey, and of at most so many characters.
pub fn tame(text: &str, longest: usize) -> String {
    let tamed: String = text.chars().take(longest).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(longest).is_some() { tamed + "…" } else { tamed }
}

/// Something that is accepted, and that its author should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The line, counted from 1 in the whole file.
    pub line: u64,
    /// The column, counted from 1 in characters.
    pub column: u64,
    /// Where in the document, like `spec.build`.
    pub path: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// A place in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// From 1; 0 is «unknown».
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// From 0, in bytes.
    pub offset: usize,
    /// In bytes; 0 where it is not known.
    pub len: usize,
}

/// A problem on its way from the place where it was found to the person who reads it: each level that it
/// passes adds what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(Box<Found>);

/// What is known of a problem so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where in the text; the innermost level that knows it sets it.
    pub at: Option<Mark>,
    /// Where in the document, innermost step first.
    pub steps: Vec<String>,
    /// What is wrong.
    pub problem: String,
    /// The known word that is nearest.
    pub near: Option<String>,
    /// The key that nobody knows, so that the table of keys can say where it belongs.
    pub unknown: Option<String>,
    /// Whether something is not there at all.
    pub missing: bool,
    /// Further problems.
    pub more: Vec<Fault>,
}

impl std::ops::Deref for Fault {
    type Target = Found;
    fn deref(&self) -> &Found {
        &self.0
    }
}

impl std::ops::DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut Found {
        &mut self.0
    }
}

impl Fault {
    /// A problem whose place is not known yet.
    pub fn new(problem: impl Into<String>) -> Self {
        Self(Box::new(Found { problem: problem.into(), ..Found::default() }))
    }

    /// A problem at a path, whose mark is looked up later.
    pub fn on<'a>(path: impl IntoIterator<Item = &'a str>, problem: impl Into<String>) -> Self {
        let mut fault = Self::new(problem);
        fault.steps = path.into_iter().map(str::to_owned).collect();
        fault.steps.reverse();
        fault
    }

    /// With the known word that is nearest, if there is one.
    pub fn near(mut self, near: Option<String>) -> Self {
        self.near = near;
        self
    }

    /// The place, unless an inner level knew it better.
    pub fn at(mut self, mark: Mark) -> Self {
        self.at.get_or_insert(mark);
        self
    }

    /// One level further out.
    pub fn within(mut self, step: impl Into<String>) -> Self {
        let step = step.into();
        self.more.iter_mut().for_each(|fault| fault.steps.push(step.clone()));
        self.steps.push(step);
        self
    }

    /// Several problems as one, in the order of the text.
    pub fn together(mut faults: Vec<Fault>) -> Fault {
        faults.sort_by_key(|fault| fault.at.map(|at| at.offset));
        let mut faults = faults.into_iter();
        let mut first = faults.next().unwrap_or_else(|| Fault::new("the document could not be read"));
        first.more.extend(faults.take(MOST));
        first
    }

    /// The path from the document's top, dotted.
    pub fn path(&self) -> String {
        self.steps.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// The error for people, with its line of `text`, the whole file.
    pub fn into_error(self, origin: String, text: &str) -> DocumentError {
        let path = tame(&self.path(), LONGEST);
        let Found { at, problem, near, more, .. } = *self.0;
        let mark = at.unwrap_or(Mark { line: 1, column: 1, offset: 0, len: 0 });
        let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
        let line = text.lines().nth(index(mark.line)).map(str::trim_end).filter(|line| !line.is_empty());
        let (shown, caret) = line.map(|line| window(line, index(mark.column))).unzip();
        let room =
            shown.as_deref().map_or(0, |shown| shown.chars().count()).saturating_sub(caret.unwrap_or(0));
        let spanned = text.get(mark.offset..mark.offset.saturating_add(mark.len)).unwrap_or_default();
        let width = spanned.lines().next().unwrap_or_default().chars().count().min(room).max(1);
        let also = more.into_iter().map(|fault| fault.into_error(origin.clone(), text)).collect();
        DocumentError(Box::new(Problem {
            origin,
            line: mark.line.max(1),
            column: mark.column.max(1),
            path,
            problem: tame(&problem, LONGEST),
            suggestion: near,
            source_line: shown,
            caret: caret.unwrap_or(0) as u64,
            width: width as u64,
            also,
        }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Fault {}
