//! From Compose files to evenkeel documents.
//!
//! An import passes four rooms. `load` reads files to one tree whose every part knows the line that it is from:
//! variables filled in, services extended, projects included, files laid over each other, as Compose does.
//! `convert` drafts an object for each service and network, and brings what Compose means to what evenkeel
//! means. `emit` writes a draft, and the rules that admit documents read it back: so what comes out is valid.
//! `report` tells, line by line, what was changed, what was refused, and what a person must decide.
//!
//! Files and variables come through [`World`]; nothing else is touched.

use std::path::PathBuf;

use evenkeel_api::name::Namespace;
use serde::Serialize;

mod convert;
mod dotenv;
mod emit;
mod interpolate;
mod load;
mod merge;
mod report;
mod tree;
mod world;
mod yaml;

pub use report::{Finding, Severity};
pub use world::{NoFile, World};

use convert::Wanted;
use load::{Fatal, Loader, Project};
use report::Report;
use tree::At;

/// What to import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The files, each laid over the ones before it.
    pub files: Vec<PathBuf>,
    /// Files with variables, instead of `.env` beside the first file.
    pub env_files: Vec<PathBuf>,
    /// The profiles that are wanted; `*` is all.
    pub profiles: Vec<String>,
    /// The namespace; absent: named as Compose names the project.
    pub namespace: Option<Namespace>,
    /// Where the folder of the first file lies on the hosts, so that relative paths mean something there.
    pub files_at: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Import {
    /// Networks, then services, in the order of the files.
    pub objects: Vec<Object>,
    /// What is to be told, in the order of the files.
    pub findings: Vec<Finding>,
}

/// A document, or what might become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Like `Service shop/web`.
    pub name: String,
    /// Whether a person must mend it first: then its text is all comments, and means nothing.
    pub refused: bool,
    /// The document, with comments on what is to be decided.
    pub text: String,
}

impl Import {
    /// All documents, as a file.
    pub fn documents(&self) -> String {
        let texts: Vec<&str> = self.objects.iter().map(|object| object.text.as_str()).collect();
        texts.join("---\n")
    }

    /// How many objects were imported.
    pub fn imported(&self) -> usize {
        self.objects.iter().filter(|object| !object.refused).count()
    }

    /// How many services were imported: without one the networks are of no use.
    pub fn services(&self) -> usize {
        self.objects.iter().filter(|object| !object.refused && object.name.starts_with("Service ")).count()
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Imports a project.
pub fn import(options: &Options, world: &dyn World) -> Import {
    let mut loader = Loader::new(world);
    let objects = match loader.project(options) {
        Ok(project) => converted(options, &project, world, &mut loader.report),
        Err(Fatal) => Vec::new(),
    };
    Import { objects, findings: loader.report.findings() }
}

/// What may stand at the top of a Compose file, beside `x-` keys.
const SECTIONS: [&str; 8] =
    ["name", "version", "services", "networks", "volumes", "configs", "secrets", "models"];

fn converted(options: &Options, project: &Project, world: &dyn World, report: &mut Report) -> Vec<Object> {
    for entry in project.root.entries() {
        if !SECTIONS.contains(&entry.key.as_str()) && !entry.key.starts_with("x-") {
            let what = format!("no Compose file has a key `{}` at its top", entry.key);
            report.add(Severity::Refused, entry.key_at, entry.key.clone(), what, "mend it, or take it out");
        }
    }
    if project.section("services").is_empty() {
        let what = "there are no `services` in this file";
        report.add(Severity::Refused, At { line: 0, ..project.root.at }, "", what, "");
        return Vec::new();
    }
    let Some(namespace) = namespace(options, project, world, report) else { return Vec::new() };
    let mut profiles = options.profiles.clone();
    if profiles.is_empty() {
        let chosen = project.env.get("COMPOSE_PROFILES", world).unwrap_or_default();
        profiles.extend(chosen.split(',').map(|profile| profile.trim().to_owned()));
    }
    let wanted =
        Wanted { profiles: &profiles, namespace: namespace.as_str(), files_at: options.files_at.as_deref() };
    convert::convert(project, wanted, world, report)
}

/// The namespace that is asked for, or else what Compose would call the project, which is told.
fn namespace(
    options: &Options,
    project: &Project,
    world: &dyn World,
    report: &mut Report,
) -> Option<Namespace> {
    if let Some(namespace) = &options.namespace {
        return Some(namespace.clone());
    }
    let written = project.root.get("name");
    let folder = world::join(&world.directory(), &project.base.to_string_lossy());
    let name = project
        .env
        .get("COMPOSE_PROJECT_NAME", world)
        .or_else(|| written.and_then(tree::Node::text).map(str::to_owned))
        .or_else(|| folder.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let at = written.map_or(At { line: 0, ..project.root.at }, |node| node.at);
    match convert::names::label(&name).parse::<Namespace>() {
        Ok(namespace) => {
            let what = format!("the namespace is {namespace}, as Compose would name the project");
            report.add(Severity::Changed, at, "", what, "give -n for another");
            Some(namespace)
        }
        Err(error) => {
            report.add(Severity::Refused, at, "", error.to_string(), "give a namespace by -n");
            None
        }
    }
}
