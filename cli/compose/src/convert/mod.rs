//! From a project to documents: each service drafted, brought to what evenkeel means, written and read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Object;
use crate::load::Project;
use crate::report::{Report, Severity, Told};
use crate::tree::{At, Entry, Node, Value};
use crate::world::World;

mod depend;
mod deploy;
mod document;
mod environment;
mod lacks;
pub(crate) mod names;
mod networks;
mod small;
mod volumes;

use lacks::Unset;
use networks::Networks;
use volumes::Volumes;

/// What is known before the first service is looked at.
struct Facts<'a> {
    project: &'a Project,
    world: &'a dyn World,
    /// Where the project's folder lies on the hosts.
    files_at: Option<&'a Path>,
    /// Where relative paths begin, of each file.
    bases: Vec<PathBuf>,
    /// What the services that are imported are called here.
    names: BTreeMap<String, String>,
    /// Services that are left out, and the profiles that would bring them.
    asleep: BTreeMap<String, Vec<String>>,
    /// Services that run once and end.
    once: std::collections::BTreeSet<String>,
    networks: Networks,
    volumes: Volumes,
}

impl Facts<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.project.env.get(name, self.world)
    }

    fn base(&self, at: At) -> &Path {
        self.bases.get(at.file).map_or(Path::new(""), PathBuf::as_path)
    }
}

/// An object on its way to a document.
#[derive(Debug)]
struct Draft {
    /// The section that it is from.
    section: &'static str,
    /// What Compose calls it.
    key: String,
    /// What it is called here.
    name: String,
    at: At,
    /// What will stand below `spec`.
    body: Node,
    /// Labels of the object itself.
    labels: Option<Node>,
    told: Vec<Told>,
}

impl Draft {
    fn new(section: &'static str, key: &str, name: &str, at: At, body: Node) -> Self {
        let (key, name) = (key.to_owned(), name.to_owned());
        Self { section, key, name, at, body, labels: None, told: Vec::new() }
    }

    /// The whole path of one below it.
    fn path(&self, below: &str) -> String {
        let dot = if below.is_empty() { "" } else { "." };
        format!("{}.{}{dot}{below}", self.section, self.key)
    }

    fn tell(
        &mut self,
        severity: Severity,
        at: At,
        path: impl AsRef<str>,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) {
        let (path, what, todo) = (self.path(path.as_ref()), what.into(), todo.into());
        if self.told.iter().all(|told| told.at != at || told.what != what) {
            self.told.push(Told { severity, at, path, what, todo, quiet: false });
        }
    }

    /// Says something in the document's comments, where the report says it in its own way.
    fn note(&mut self, severity: Severity, at: At, path: &str, what: String, todo: String) {
        self.tell(severity, at, path, what, todo);
        if let Some(told) = self.told.last_mut().filter(|told| told.at == at) {
            told.quiet = true;
        }
    }

    fn is_refused(&self) -> bool {
        self.told.iter().any(|told| told.severity == Severity::Refused)
    }

    fn report(self, report: &mut Report) {
        report.tell(self.told);
    }
}

/// What is wanted of a project.
pub(crate) struct Wanted<'a> {
    /// The profiles whose services are wanted.
    pub profiles: &'a [String],
    /// The namespace of all.
    pub namespace: &'a str,
    /// Where the project's folder lies on the hosts, if that was said.
    pub files_at: Option<&'a Path>,
}

/// Converts a project.
pub(crate) fn convert(
    project: &Project,
    Wanted { profiles, namespace, files_at }: Wanted<'_>,
    world: &dyn World,
    report: &mut Report,
) -> Vec<Object> {
    let (services, asleep) = awake(project.section("services"), profiles, report);
    let networks = Networks::of(project, &services, namespace);
    let volumes = Volumes::of(project, &services, report);
    let mut facts = Facts {
        project,
        world,
        files_at,
        bases: report.bases(),
        names: names::of_services(&services),
        asleep,
        once: depend::once(&services),
        networks,
        volumes,
    };
    let drafts = std::mem::take(&mut facts.networks.drafts);
    let mut objects: Vec<Object> = drafts
        .into_iter()
        .filter_map(|draft| {
            if draft.body.entries().is_empty() {
                draft.report(report);
                return None;
            }
            Some(document::finish(draft, "Network", None, report))
        })
        .collect();
    let mut unset = Unset::default();
    let mut taken = BTreeMap::new();
    for entry in &services {
        let draft = service(entry, &services, &mut taken, &facts, &mut unset, report);
        objects.push(document::finish(draft, "Service", Some(namespace), report));
    }
    facts.networks.tell(report);
    unset.tell(report);
    objects
}

/// The services that are wanted, and the profiles of those that are not.
fn awake<'p>(
    services: &'p [Entry],
    profiles: &[String],
    report: &mut Report,
) -> (Vec<&'p Entry>, BTreeMap<String, Vec<String>>) {
    let mut awake = Vec::new();
    let mut asleep = BTreeMap::new();
    for entry in services {
        let own: Vec<&str> = entry
            .value
            .get("profiles")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .collect();
        let wanted = |profile: &&str| profiles.iter().any(|chosen| chosen == *profile || chosen == "*");
        if own.is_empty() || own.iter().any(wanted) {
            awake.push(entry);
            continue;
        }
        let what = format!("left out: it is of the profile {}, which is not chosen", own.join(" or "));
        let path = format!("services.{}", entry.key);
        report.add(
            Severity::Changed,
            entry.key_at,
            path,
            what,
            format!("import with --profile {} for it", own[0]),
        );
        asleep.insert(entry.key.clone(), own.into_iter().map(str::to_owned).collect());
    }
    (awake, asleep)
}

/// Drafts a service.
fn service(
    entry: &Entry,
    services: &[&Entry],
    taken: &mut BTreeMap<String, String>,
    facts: &Facts<'_>,
    unset: &mut Unset,
    report: &mut Report,
) -> Draft {
    let name = facts.names.get(&entry.key).map_or("", String::as_str);
    let mut draft = Draft::new("services", &entry.key, name, entry.key_at, entry.value.clone());
    if name.is_empty() || name.len() > 63 {
        let what = format!("{:?} has nothing that can be part of a host name", entry.key);
        draft.tell(Severity::Refused, entry.key_at, "", what, "give the service another name");
    }
    if let Some(other) = taken.insert(name.to_owned(), entry.key.clone()) {
        let what = format!("its name here would be {name}, as that of {other}");
        draft.tell(Severity::Refused, entry.key_at, "", what, "give one of them another name");
    }
    if !matches!(draft.body.value, Value::Map(_)) {
        draft.tell(Severity::Refused, entry.key_at, "", "a service is a mapping, with `image` in it", "");
        draft.body = Node::map_at(entry.key_at);
    }
    names::renamed(&mut draft, services);
    names::tasks(&mut draft, services);
    names::embedded(&mut draft);
    names::container_name(&mut draft);
    small::without_effect(&mut draft);
    small::image(&mut draft);
    lacks::look(&mut draft, unset);
    environment::environment(&mut draft, facts, report);
    environment::labels(&mut draft, facts, report);
    // Once more, for what came from files.
    lacks::look(&mut draft, unset);
    volumes::mounts(&mut draft, facts);
    small::network_mode(&mut draft);
    networks::attach(&mut draft, facts);
    small::ports(&mut draft);
    small::links(&mut draft);
    depend::restart(&mut draft, facts);
    depend::depends_on(&mut draft, facts);
    deploy::deploy(&mut draft);
    deploy::long_gpus(&mut draft);
    small::rest(&mut draft);
    draft
}
