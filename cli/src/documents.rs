//! Documents from files, folders and standard input: variables filled in, every problem shown at once.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::Namespace;
use evenkeel_api::text::{Document, Origin, interpolate, parse_documents};

use crate::failure::Failure;

/// Where documents are.
#[derive(Debug, Args)]
pub struct Files {
    /// Files or folders with documents (- is standard input)
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    file: Vec<PathBuf>,
    /// The same, without -f
    #[arg(value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
}

impl Files {
    /// All that were named, with -f or without.
    pub fn all(&self) -> Vec<PathBuf> {
        self.file.iter().chain(&self.files).cloned().collect()
    }

    /// Reads their documents, as [`read`] does.
    ///
    /// # Errors
    /// None was named, or as of [`read`].
    pub fn read(&self, namespace: Option<&Namespace>) -> Result<Vec<FromFile>, Failure> {
        let files = self.all();
        if files.is_empty() {
            return Err(Failure::usage("which documents? name files or folders, or - for standard input"));
        }
        read(&files, namespace)
    }
}

/// A document, and the file that it is from.
#[derive(Debug, Clone)]
pub struct FromFile {
    /// The file's name, as shown.
    pub file: String,
    /// The document.
    pub document: Document,
}

/// Reads all documents of `paths`, hosts and networks before what stands on them.
///
/// # Errors
/// A file cannot be read, a document is bad (all bad ones are listed), or two describe one object.
pub fn read(paths: &[PathBuf], namespace: Option<&Namespace>) -> Result<Vec<FromFile>, Failure> {
    let mut good: Vec<FromFile> = Vec::new();
    let mut bad = Vec::new();
    for (file, text) in texts(paths)? {
        let variable = |name: &str| std::env::var(name).ok();
        let text = match interpolate(&text, variable) {
            Ok(text) => text,
            Err(error) => {
                bad.push(format!("{file}: {error}"));
                continue;
            }
        };
        let origin = match namespace {
            Some(namespace) => Origin::file_in(&file, namespace.clone()),
            None => Origin::file(&file),
        };
        for document in parse_documents(&text, &origin) {
            match document {
                Ok(document) => good.push(FromFile { file: file.clone(), document }),
                Err(error) => bad.push(error.to_string()),
            }
        }
    }
    bad.extend(twice(&good));
    if !bad.is_empty() {
        return Err(Failure::new(bad.join("\n\n")));
    }
    if good.is_empty() {
        return Err(Failure::new("there is no document in what was given"));
    }
    good.sort_by_key(|found| Kind::ALL.iter().position(|kind| *kind == found.document.kind()));
    Ok(good)
}

fn twice(found: &[FromFile]) -> Vec<String> {
    let mut seen: BTreeMap<&ObjectRef, &FromFile> = BTreeMap::new();
    let mut bad = Vec::new();
    for one in found {
        if let Some(other) = seen.insert(&one.document.object, one) {
            bad.push(format!(
                "{} is described twice: {} line {} and {} line {}",
                one.document.object, other.file, other.document.line, one.file, one.document.line
            ));
        }
    }
    bad
}

/// The texts of files, of the YAML and JSON files of folders (their subfolders included, in order of their
/// names), and of standard input (`-`).
fn texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::new(format!("standard input: {error}")))?;
            texts.push(("standard input".to_owned(), text));
        } else if path.is_dir() {
            let files = folder(path)?;
            if files.is_empty() {
                return Err(Failure::new(format!(
                    "{}: no .yaml, .yml or .json file in this folder",
                    path.display()
                )));
            }
            for file in files {
                texts.push((file.display().to_string(), text(&file)?));
            }
        } else {
            texts.push((path.display().to_string(), text(path)?));
        }
    }
    Ok(texts)
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let at = |error| Failure::new(format!("{}: {error}", path.display()));
    let mut entries = std::fs::read_dir(path)
        .map_err(at)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(at)?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if entry.is_dir() {
            files.extend(folder(&entry)?);
        } else if entry
            .extension()
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
        {
            files.push(entry);
        }
    }
    Ok(files)
}
