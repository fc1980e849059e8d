//! How a host keeps its name `alive/<h>` under its lease: what to do next, from what it remembers and
//! from what stands in the store.
//!
//! The lease is the proof of life that everyone else decides by, so three things are told apart here that
//! look alike from afar: a controller that was restarted (it goes on with its lease, nobody notices), a
//! lease that the store ended though the host lives (a new one at once), and another machine that bears
//! the same name (it, or we, must not register).

use evenkeel_api::record::Alive;
use serde::{Deserialize, Serialize};

/// What a host remembers of its registration, on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The boot in which the lease was taken.
    #[serde(default)]
    pub boot_id: String,
    /// The last incarnation that was to be registered.
    #[serde(default)]
    pub incarnation: u64,
    /// Whether it was, or may have been: if not, the next lease is taken for the same incarnation.
    #[serde(default = "may_have_been")]
    pub put: bool,
    /// The lease of that incarnation; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
}

fn may_have_been() -> bool {
    true
}

/// `alive/<h>` as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who is registered; `None`: the value cannot be read.
    pub alive: Option<Alive>,
    /// Under which lease; 0: none.
    pub lease: i64,
    /// The revision of the last change.
    pub mod_revision: i64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: this incarnation is registered.
    Stand,
    /// Take a new lease, remember [`granted`], and ask again.
    Grant,
    /// Register under the lease that there is, if the key is still at `revision` (0: absent).
    Put {
        /// The registration.
        alive: Alive,
        /// The lease.
        lease: i64,
        /// What the key must be at.
        revision: i64,
    },
    /// The name is held by another boot of a machine: this one before its reboot, whose lease ends by
    /// itself in a moment, or another machine, whose does not. Touch nothing.
    Wait {
        /// The boot that holds it.
        boot_id: String,
    },
}

/// The next step of a host whose machine is in boot `boot_id`.
pub fn step(memory: &Memory, boot_id: &str, seen: Option<&Seen>) -> Step {
    // A lease of an earlier boot is never taken up again: in a cloned machine the original still has it.
    let lease = memory.lease.filter(|_| memory.boot_id == boot_id);
    let mine = Alive { boot_id: boot_id.to_owned(), incarnation: memory.incarnation };
    let holder = seen.filter(|seen| seen.lease != 0).and_then(|seen| seen.alive.as_ref());
    if let Some(other) = holder.filter(|holder| holder.boot_id != boot_id) {
        return Step::Wait { boot_id: other.boot_id.clone() };
    }
    match lease {
        None => Step::Grant,
        Some(lease) if seen.is_some_and(|s| s.lease == lease && s.alive.as_ref() == Some(&mine)) => {
            Step::Stand
        }
        Some(lease) => Step::Put { alive: mine, lease, revision: seen.map_or(0, |seen| seen.mod_revision) },
    }
}

/// What to remember of a new `lease`, given that the store was at `revision`.
///
/// A host without memory counts on from the store's revision: each registration made the store's
/// revision grow by at least one, so no incarnation of this host is ever used twice, also after its disk
/// was lost.
pub fn granted(memory: &Memory, boot_id: &str, seen: Option<&Seen>, lease: i64, revision: i64) -> Memory {
    let in_store = seen.and_then(|seen| seen.alive.as_ref()).map_or(0, |alive| alive.incarnation);
    let base =
        if memory.incarnation == 0 { u64::try_from(revision).unwrap_or(0) } else { memory.incarnation };
    // Leases that nothing was put under were no registration that anybody has seen.
    let unused = !memory.put && memory.incarnation > in_store && memory.boot_id == boot_id;
    let incarnation = if unused { memory.incarnation } else { base.max(in_store).saturating_add(1) };
    Memory { boot_id: boot_id.to_owned(), incarnation, put: false, lease: Some(lease) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(boot: &str, incarnation: u64, lease: Option<i64>) -> Memory {
        Memory { boot_id: boot.into(), incarnation, put: true, lease }
    }

    fn seen(boot: &str, incarnation: u64, lease: i64) -> Option<Seen> {
        let alive = Some(Alive { boot_id: boot.into(), incarnation });
        Some(Seen { alive, lease, mod_revision: 40 })
    }

    fn put(incarnation: u64, lease: i64, revision: i64) -> Step {
        Step::Put { alive: Alive { boot_id: "b".into(), incarnation }, lease, revision }
    }

    #[test]
    fn every_case_has_one_step() {
        let wait = |boot: &str| Step::Wait { boot_id: boot.into() };
        let unreadable = Some(Seen { alive: None, lease: 7, mod_revision: 40 });
        let cases = [
            ("first start", memory("", 0, None), None, Step::Grant),
            ("granted, not put", memory("b", 1, Some(7)), None, put(1, 7, 0)),
            ("a worker restarted", memory("b", 1, Some(7)), seen("b", 1, 7), Step::Stand),
            (
                "the lease was lost, its key is not yet gone",
                memory("b", 1, None),
                seen("b", 1, 7),
                Step::Grant,
            ),
            ("a new lease over the old key", memory("b", 2, Some(8)), seen("b", 1, 7), put(2, 8, 40)),
            (
                "somebody detached the key from its lease",
                memory("b", 1, Some(7)),
                seen("b", 1, 0),
                put(1, 7, 40),
            ),
            ("somebody wrote nonsense", memory("b", 1, Some(7)), unreadable, put(1, 7, 40)),
            ("the disk was lost", memory("", 0, None), seen("b", 1, 7), Step::Grant),
            ("rebooted, key gone", memory("a", 1, Some(7)), None, Step::Grant),
            ("rebooted within the lease", memory("a", 1, Some(7)), seen("a", 1, 7), wait("a")),
            ("another machine has the name", memory("", 0, None), seen("x", 9, 3), wait("x")),
            ("another machine took the name", memory("b", 1, Some(7)), seen("x", 9, 3), wait("x")),
            ("a clone writes under our lease", memory("b", 1, Some(7)), seen("x", 1, 7), wait("x")),
        ];
        for (what, memory, seen, expected) in cases {
            assert_eq!(step(&memory, "b", seen.as_ref()), expected, "{what}");
        }
    }

    #[test]
    fn incarnations_only_grow() {
        let first = granted(&memory("b", 4, None), "b", None, 9, 1000);
        assert_eq!(first, Memory { put: false, ..memory("b", 5, Some(9)) });
        // The store did not take it, and ended the lease: nobody has seen incarnation 5.
        let again = granted(&Memory { lease: None, ..first.clone() }, "b", None, 10, 1001);
        assert_eq!(again, Memory { put: false, ..memory("b", 5, Some(10)) });
        let seen_after_all =
            granted(&Memory { lease: None, ..first }, "b", seen("b", 5, 9).as_ref(), 10, 1001);
        assert_eq!(seen_after_all.incarnation, 6);
        assert_eq!(granted(&memory("a", 4, None), "b", seen("a", 6, 7).as_ref(), 9, 1000).incarnation, 7);
        assert_eq!(granted(&Memory::default(), "b", None, 9, 1000).incarnation, 1001);
    }

    #[test]
    fn an_incarnation_that_may_have_been_seen_is_not_used_again() {
        let older: Memory = serde_json::from_str(r#"{"boot_id": "b", "incarnation": 4}"#).unwrap();
        assert_eq!(older, memory("b", 4, None));
        assert_eq!(granted(&older, "b", None, 9, 1000).incarnation, 5);
    }
}
