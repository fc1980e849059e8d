//! `include`: whole projects below this one, each with its own folder and variables.

use std::path::PathBuf;

use crate::merge::merge;
use crate::report::Severity;
use crate::tree::{At, Node, Value};
use crate::world::join;

use super::{Context, Env, Loader, folder};

/// What an included project gives.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "configs", "secrets"];

impl Loader<'_> {
    /// Lays a document over all that it includes.
    pub(super) fn include_all(
        &mut self,
        mut document: Node,
        context: &Context,
        stack: &mut Vec<PathBuf>,
    ) -> Node {
        let Some(include) = document.take("include") else { return document };
        let mut below = Node::map_at(document.at);
        for item in include.value.one_or_many() {
            match included(item) {
                Some(included) => {
                    let project = self.included(&included, item.at, context, stack);
                    below = merge(below, project, &mut Vec::new());
                }
                None => {
                    let what = "`include` takes paths, or mappings with `path`";
                    self.report.add(Severity::Refused, item.at, "include", what, "");
                }
            }
        }
        merge(below, document, &mut Vec::new())
    }

    fn included(&mut self, wanted: &Included, from: At, context: &Context, stack: &mut Vec<PathBuf>) -> Node {
        let paths: Vec<PathBuf> = wanted.paths.iter().map(|path| join(&context.base, path)).collect();
        let base = match &wanted.directory {
            Some(directory) => join(&context.base, directory),
            None => paths.first().map(|path| folder(path)).unwrap_or_default(),
        };
        let mut env = Env::default();
        let files: Vec<PathBuf> = wanted.env_files.iter().map(|path| join(&context.base, path)).collect();
        let (files, required) =
            if files.is_empty() { (vec![base.join(".env")], false) } else { (files, true) };
        for file in files {
            // What is wrong with it is told; the project is read with the variables that there are.
            let _ = self.variables(&mut env, &file, required);
        }
        // The including project knows better.
        env.0.extend(context.env.0.clone());
        let mut whole = Node::map_at(from);
        for path in paths {
            let context = Context { path, base: base.clone(), env: env.clone() };
            if let Some(node) = self.file(&context, stack, from) {
                whole = merge(whole, node, &mut Vec::new());
            }
        }
        if let Value::Map(entries) = &mut whole.value {
            entries.retain(|entry| SECTIONS.contains(&entry.key.as_str()));
        }
        whole
    }
}

/// What an item of `include` asks for.
struct Included {
    paths: Vec<String>,
    directory: Option<String>,
    env_files: Vec<String>,
}

fn included(item: &Node) -> Option<Included> {
    if let Some(path) = item.text() {
        return Some(Included { paths: vec![path.to_owned()], directory: None, env_files: Vec::new() });
    }
    let texts = |key: &str| -> Vec<String> {
        let nodes = item.get(key).map(Node::one_or_many).unwrap_or_default();
        nodes.into_iter().filter_map(Node::text).map(str::to_owned).collect()
    };
    let paths = texts("path");
    let directory = item.get("project_directory").and_then(Node::text).map(str::to_owned);
    (!paths.is_empty()).then(|| Included { paths, directory, env_files: texts("env_file") })
}
