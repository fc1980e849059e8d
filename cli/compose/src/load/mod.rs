//! From files to one project: every file read, filled in, extended, and laid over the ones before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Options;
use crate::dotenv;
use crate::interpolate;
use crate::merge::merge;
use crate::report::{Report, Severity};
use crate::tree::{At, Node, Value};
use crate::world::{NoFile, World, join};
use crate::yaml::{self, Budget};

mod extends;
mod include;

/// The most files that may include or extend each other in a row.
const DEEPEST: usize = 16;

/// What several files together say.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder that relative paths begin at, as it was given.
    pub base: PathBuf,
    /// Its variables.
    pub env: Env,
    /// Everything, merged.
    pub root: Node,
}

impl Project {
    /// The entries of a section, like `services`.
    pub fn section(&self, key: &str) -> &[crate::tree::Entry] {
        self.root.get(key).map(Node::entries).unwrap_or_default()
    }
}

/// Variables of files, below those of the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env(BTreeMap<String, String>);

impl Env {
    /// A variable's value.
    pub fn get(&self, name: &str, world: &dyn World) -> Option<String> {
        world.variable(name).or_else(|| self.0.get(name).cloned())
    }
}

/// Where a file is read for.
#[derive(Debug, Clone)]
struct Context {
    /// The file.
    path: PathBuf,
    /// Where relative paths in it begin.
    base: PathBuf,
    /// What its variables mean.
    env: Env,
}

pub(crate) struct Loader<'w> {
    pub world: &'w dyn World,
    pub report: Report,
    budget: Budget,
}

/// The most files that one import reads.
const MOST_FILES: usize = 1000;

/// Nothing can be imported; the report says why.
pub(crate) struct Fatal;

type Result<T> = std::result::Result<T, Fatal>;

impl<'w> Loader<'w> {
    pub fn new(world: &'w dyn World) -> Self {
        Self { world, report: Report::default(), budget: Budget::new() }
    }

    /// Reads a project.
    pub fn project(&mut self, options: &Options) -> Result<Project> {
        let base = options.files.first().map(|file| folder(file)).unwrap_or_default();
        let env = self.environment(options, &base)?;
        let mut root = Node::map_at(At::default());
        for path in &options.files {
            let context = Context { path: path.clone(), base: base.clone(), env: env.clone() };
            let Some(node) = self.file(&context, &mut Vec::new(), At::default()) else { return Err(Fatal) };
            root = merge(root, node, &mut Vec::new());
        }
        Ok(Project { base, env, root })
    }

    /// The variables of `--env-file`, or else of the file `.env` of the project, if there is one.
    fn environment(&mut self, options: &Options, base: &Path) -> Result<Env> {
        let mut env = Env::default();
        for path in &options.env_files {
            self.variables(&mut env, path, true)?;
        }
        if options.env_files.is_empty() {
            self.variables(&mut env, &base.join(".env"), false)?;
        }
        Ok(env)
    }

    /// Adds the variables of a file, over those that are there.
    fn variables(&mut self, env: &mut Env, path: &Path, required: bool) -> Result<()> {
        let file = self.report.file(path, folder(path));
        let text = match self.world.read(path) {
            Ok(text) => text,
            Err(NoFile::Missing) if !required => return Ok(()),
            Err(why) => return self.fatal(At { file, ..At::default() }, why.to_string()),
        };
        let known = env.clone();
        let vars = |name: &str| known.get(name, self.world);
        match dotenv::read(&text, &vars, false) {
            Ok(found) => {
                env.0.extend(found.into_iter().filter_map(|variable| Some((variable.name, variable.value?))));
                Ok(())
            }
            Err((line, problem)) => self.fatal(At { file, line, column: 1 }, problem),
        }
    }

    fn fatal<T>(&mut self, at: At, what: String) -> Result<T> {
        self.report.add(Severity::Refused, at, "", what, "");
        Err(Fatal)
    }

    /// What a file says, with all that it includes and extends; nothing where it cannot be read, which is
    /// told. `from` is where another file asks for it.
    fn file(&mut self, context: &Context, stack: &mut Vec<PathBuf>, from: At) -> Option<Node> {
        if stack.contains(&context.path) || stack.len() >= DEEPEST {
            let chain: Vec<String> = stack.iter().map(|path| path.display().to_string()).collect();
            let what = format!(
                "{} is included in a circle, or too deeply: {}",
                context.path.display(),
                chain.join(", ")
            );
            self.report.add(Severity::Refused, from, "include", what, "take one of the includes out");
            return None;
        }
        let documents = match self.read(context) {
            Ok(documents) => documents,
            Err(unread) => {
                self.unread(unread, context, from, "include");
                return None;
            }
        };
        stack.push(context.path.clone());
        let mut whole: Option<Node> = None;
        for document in documents {
            let document = self.extend_all(document, context);
            let document = self.include_all(document, context, stack);
            // The first one keeps its tags, which are meant for the files before.
            whole = Some(match whole {
                Some(whole) => merge(whole, document, &mut Vec::new()),
                None => document,
            });
        }
        stack.pop();
        whole
    }

    /// The documents of a file, with their variables filled in.
    fn read(&mut self, context: &Context) -> std::result::Result<Vec<Node>, Unread> {
        let file = self.report.file(&context.path, context.base.clone());
        let whole = At { file, ..At::default() };
        if file > MOST_FILES {
            return Err(Unread(whole, format!("files include and extend more than {MOST_FILES} others")));
        }
        let text = self.world.read(&context.path).map_err(|why| Unread(whole, why.to_string()))?;
        let mut documents =
            yaml::read(&text, file, &mut self.budget).map_err(|bad| Unread(bad.at, bad.problem))?;
        if documents.is_empty() {
            return Err(Unread(whole, "there is nothing in this file".to_owned()));
        }
        let vars = |name: &str| context.env.get(name, self.world);
        for document in &mut documents {
            recognise(document).map_err(|what| Unread(document.at, what))?;
            interpolate::fill(document, &vars);
        }
        Ok(documents)
    }

    /// Tells of a file that could not be read: at its own place, or where `from` asks for it by `key`.
    fn unread(&mut self, unread: Unread, context: &Context, from: At, key: &str) {
        let Unread(at, what) = unread;
        if at.line == 0 && from.line > 0 {
            let what = format!("{}: {what}", context.path.display());
            self.report.add(Severity::Refused, from, key, what, "put the file there, and import again");
        } else {
            self.report.add(Severity::Refused, at, "", what, "");
        }
    }
}

/// Why a file could not be read, and where; at line 0 where it could not be had at all.
struct Unread(At, String);

/// Refuses what is no Compose file, with a word on what it seems to be.
fn recognise(document: &Node) -> std::result::Result<(), String> {
    let Value::Map(_) = document.value else {
        return Err("a Compose file is a mapping, with `services` in it".to_owned());
    };
    if document.get("apiVersion").is_some() && document.get("kind").is_some() {
        return Err("this is a document already, and no Compose file; apply it as it is".to_owned());
    }
    Ok(())
}

/// The folder of a file; that of standard input is here.
fn folder(path: &Path) -> PathBuf {
    path.parent().map(|folder| join(folder, "")).unwrap_or_default()
}
