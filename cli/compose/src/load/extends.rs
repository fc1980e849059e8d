//! `extends`: a service laid over another one, of the same file or of another.

use std::path::PathBuf;

use crate::merge::merge;
use crate::tree::{At, Lack, Node, Value};
use crate::world::join;

use super::{Context, DEEPEST, Loader, folder};

/// Services that extend each other, outermost first.
type Chain = Vec<(PathBuf, String)>;

impl Loader<'_> {
    /// Resolves every `extends` of a document. A service whose base is not to be had is marked, and refused
    /// when its turn comes.
    pub(super) fn extend_all(&mut self, mut document: Node, context: &Context) -> Node {
        let Some(services) = document.get("services").cloned() else { return document };
        let mut resolved = services.clone();
        for entry in services.entries().iter().filter(|entry| entry.value.get("extends").is_some()) {
            let service = match self.extended(&services, &entry.key, context, &mut Vec::new()) {
                Ok(service) => service,
                Err(Broken(at, why)) => {
                    let mut service = entry.value.clone();
                    service.take("extends");
                    Node { lack: Some(Lack::Broken(why)), at, ..service }
                }
            };
            if let Some(place) = resolved.get_mut(&entry.key) {
                *place = service;
            }
        }
        if let Some(place) = document.get_mut("services") {
            *place = resolved;
        }
        document
    }

    /// A service with all that it extends.
    fn extended(
        &mut self,
        services: &Node,
        name: &str,
        context: &Context,
        chain: &mut Chain,
    ) -> Result<Node, Broken> {
        let Some(entry) = services.entry(name) else {
            return Err(Broken(
                services.at,
                format!("there is no service `{name}` in {}", context.path.display()),
            ));
        };
        let mut service = entry.value.clone();
        let Some(extends) = service.take("extends").filter(|entry| !entry.value.is_null()) else {
            return Ok(service);
        };
        let broken = |why: String| Broken(extends.key_at, why);
        chain.push((context.path.clone(), name.to_owned()));
        let (file, base) = named(&extends.value).ok_or_else(|| {
            broken("`extends` takes the name of a service, or `service` and `file`".to_owned())
        })?;
        let other = file.map(|file| join(&context.base, &file));
        let path = other.clone().unwrap_or_else(|| context.path.clone());
        if chain.len() >= DEEPEST || chain.contains(&(path.clone(), base.clone())) {
            let names: Vec<&str> = chain.iter().map(|(_, name)| name.as_str()).collect();
            return Err(broken(format!(
                "`extends` goes in a circle, or too deep: {} → {base}",
                names.join(" → ")
            )));
        }
        let below = match other {
            None => self.extended(services, &base, context, chain),
            Some(path) => {
                let context = Context { base: folder(&path), path, env: context.env.clone() };
                let other = self.other(&context, extends.key_at)?;
                self.extended(&other, &base, &context, chain)
            }
        };
        // The place where this file asks for it is the one that its author can mend.
        let below = below.map_err(|Broken(_, why)| Broken(extends.key_at, why))?;
        if !self.budget.spend(below.size()) {
            return Err(broken("services extend each other to too many parts".to_owned()));
        }
        chain.pop();
        Ok(merge(below, service, &mut vec!["services".to_owned(), name.to_owned()]))
    }

    /// The services of another file.
    fn other(&mut self, context: &Context, from: At) -> Result<Node, Broken> {
        let documents = self.read(context).map_err(|unread| {
            Broken(from, format!("{} cannot be read: {}", context.path.display(), unread.1))
        })?;
        let whole = documents
            .into_iter()
            .fold(Node::map_at(from), |whole, document| merge(whole, document, &mut Vec::new()));
        Ok(whole.get("services").cloned().unwrap_or(Node::map_at(from)))
    }
}

/// Why a service cannot be extended, and where that is asked for.
struct Broken(At, String);

/// The file, if it is another one, and the service.
fn named(extends: &Node) -> Option<(Option<String>, String)> {
    match &extends.value {
        Value::Map(_) => {
            let text = |key: &str| extends.get(key).and_then(Node::text).map(str::to_owned);
            Some((text("file"), text("service")?))
        }
        _ => extends.text().map(|name| (None, name.to_owned())),
    }
}
