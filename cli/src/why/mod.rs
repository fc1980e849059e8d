//! Why something runs or does not: the chain from document to names, link by link, and the one sentence that a
//! person asks for. Pure: a [`Scene`] goes in, an [`Explanation`] comes out.

mod copy;
mod host;
mod links;
mod name;
mod placement;
mod scene;
mod service;
mod target;
#[cfg(test)]
mod tests;

use evenkeel_api::record::Timestamp;
use serde::Serialize;

pub use scene::Scene;
pub use target::Target;

/// How one link of the chain is. The order is that in which one is worth telling of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The chain ends here, and not by itself goes on.
    Broken,
    /// It comes by itself.
    Waits,
    /// It holds, but is not what the document says.
    Aside,
    /// It holds.
    Holds,
    /// A link before it does not hold: nothing can be said of it.
    Open,
}

/// What was found of one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub mark: Mark,
    /// In words.
    pub says: String,
    /// The part of it that answers why.
    #[serde(skip)]
    pub cause: String,
    /// Since when, if anybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What helps.
    #[serde(skip)]
    pub help: Vec<Help>,
}

impl Finding {
    /// One that says why by itself.
    pub fn new(mark: Mark, says: impl Into<String>) -> Self {
        let says = says.into();
        Self { mark, cause: says.clone(), says, since: None, help: Vec::new() }
    }

    fn holds(says: impl Into<String>) -> Self {
        Self::new(Mark::Holds, says)
    }

    fn waits(says: impl Into<String>) -> Self {
        Self::new(Mark::Waits, says)
    }

    fn aside(says: impl Into<String>) -> Self {
        Self::new(Mark::Aside, says)
    }

    fn broken(says: impl Into<String>) -> Self {
        Self::new(Mark::Broken, says)
    }

    fn open(says: impl Into<String>) -> Self {
        Self::new(Mark::Open, says)
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    fn help(mut self, command: impl Into<String>, why: &'static str) -> Self {
        self.help.push(Help { command: command.into(), why });
        self
    }
}

/// A command that helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Help {
    /// As it is to be typed.
    pub command: String,
    /// What it is good for.
    pub why: &'static str,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Which.
    pub name: &'static str,
    /// How it is.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Why something runs or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What was asked for.
    pub what: String,
    /// In one sentence.
    pub answer: String,
    /// How all of it is: that of the link that the answer is about.
    pub state: Mark,
    /// Every link, in the order in which one follows from the other.
    pub links: Vec<Link>,
    /// What helps.
    pub help: Vec<Help>,
}

/// The link that an answer is about: of those that are worst, the first one. What a rollout waits for is told by
/// the copies themselves, if anything is.
fn telling(links: &[Link]) -> Option<&Link> {
    let told = links.iter().filter(|link| link.finding.mark < Mark::Holds);
    told.min_by_key(|link| (link.finding.mark, link.finding.mark == Mark::Waits && link.name == "rollout"))
}

/// Explains `target`.
pub fn explain(scene: &Scene, target: &Target) -> Explanation {
    match target {
        Target::Service(id) => service::explain(scene, id, &service::Of::All),
        Target::Slot(id, slot) => service::explain(scene, id, &service::Of::Slot(slot.clone())),
        Target::Copy(copy) => service::explain(scene, &copy.service, &service::Of::Copy(copy.clone())),
        Target::Host(name) => host::explain(scene, name),
        Target::Name(name) => name::explain(scene, name),
    }
}
