//! Waiting until what was asked for is so: documents accepted, every copy ready, the names leading to it on
//! every host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{ConditionType, DnsReport, Endpoints, Phase, Pin, Rollout, Status};
use evenkeel_plan::service::REFUSED;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

mod asked;
mod refused;

pub use asked::{Asked, Waiting, Wanted, glance};

use crate::failure::Failure;
use crate::output;
use crate::output::say;

/// How far one object is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// As asked for.
    Done(String),
    /// On its way.
    Pending(String),
    /// It will not come about by waiting.
    Failed(String),
}

impl Progress {
    fn text(&self) -> &str {
        match self {
            Progress::Done(text) | Progress::Pending(text) | Progress::Failed(text) => text,
        }
    }
}

/// What is said of an etcd that is too slow to be read.
const SLOW: &str = "etcd did not answer in time";

/// Waits for all that was asked for, at most for `patience`.
///
/// # Errors
/// One of them fails (exit code 3), or the time runs out (exit code 4).
pub async fn until(store: &Arc<dyn Store>, asked: &[Asked], patience: Duration) -> Result<(), Failure> {
    until_or(store, asked, patience, SLOW).await
}

/// The same; `slow` is what is said of an etcd that is too slow to be read.
async fn until_or(
    store: &Arc<dyn Store>,
    asked: &[Asked],
    patience: Duration,
    slow: &str,
) -> Result<(), Failure> {
    let prefixes =
        [prefix::rollouts(), prefix::pins(), prefix::endpoints(), prefix::reports(), prefix::alive()]
            .into_iter()
            .chain(Kind::ALL.map(prefix::status));
    let mirror = Mirror::start(store.clone(), prefixes.collect());
    let mut changed = mirror.subscribe();
    let end = Instant::now() + patience;
    let mut shown = Shown::new();
    tokio::time::timeout_at(end, mirror.synced()).await.map_err(|_| Failure::timed_out(slow))?;
    let before = refused::Before::new(&mirror, asked);
    loop {
        let look = |asked: &Asked| before.correct(&mirror, asked, look(&mirror, asked));
        let progress: Vec<Progress> = asked.iter().map(look).collect();
        for (asked, progress) in asked.iter().zip(&progress) {
            shown.show(&asked.object, progress);
        }
        if progress.iter().all(|progress| matches!(progress, Progress::Done(_))) {
            return Ok(());
        }
        let line = |(asked, progress): (&Asked, &Progress)| format!("{}: {}", asked.object, progress.text());
        let failed: Vec<String> =
            asked.iter().zip(&progress).filter(|(_, p)| matches!(p, Progress::Failed(_))).map(line).collect();
        if !failed.is_empty() {
            return Err(Failure::not_converged(failed.join("\n")));
        }
        let changes = tokio::time::timeout_at(before.due(end), changed.next()).await;
        if changes.is_err() && Instant::now() >= end {
            let pending: Vec<String> = asked
                .iter()
                .zip(&progress)
                .filter(|(_, p)| matches!(p, Progress::Pending(_)))
                .map(line)
                .collect();
            return Err(Failure::timed_out(format!(
                "not there yet when the time ran out:\n  {}",
                pending.join("\n  ")
            )));
        }
    }
}

fn look(mirror: &Mirror, asked: &Asked) -> Progress {
    let object = &asked.object;
    let Some(status) = mirror.json::<Status>(&Key::Status(object.clone())).map(|found| found.value) else {
        return Progress::Pending("no controller has looked at it yet".to_owned());
    };
    if status.observed_revision < asked.revision {
        return Progress::Pending("no controller has looked at the new document yet".to_owned());
    }
    if let Some(valid) = status.condition(ConditionType::Valid).filter(|condition| !condition.status) {
        return Progress::Failed(valid.message.clone());
    }
    match object {
        ObjectRef::Service(id) => service(mirror, id, &status, asked.rollout),
        ObjectRef::Network(_) => {
            let available = status.condition(ConditionType::Available);
            match available {
                Some(condition) if condition.status => Progress::Done("ready on every host".to_owned()),
                Some(condition) => Progress::Pending(condition.message.clone()),
                None => Progress::Pending("not reported yet".to_owned()),
            }
        }
        ObjectRef::HealthCheck(_) | ObjectRef::Host(_) => Progress::Done("accepted".to_owned()),
    }
}

/// How far a service is.
fn service(mirror: &Mirror, id: &ServiceId, status: &Status, wanted: Wanted) -> Progress {
    let rollout =
        mirror.json::<Rollout>(&Key::Rollout(id.clone())).map(|found| found.value).unwrap_or_default();
    let pin = mirror.json::<Pin>(&Key::Pin(id.clone()));
    if rollout.resumed != pin.as_ref().map(|pin| pin.mod_revision) {
        return Progress::Pending(
            "no controller has looked at what was said about its rollout yet".to_owned(),
        );
    }
    let pin = pin.map(|pin| pin.value).unwrap_or_default();
    let found = judge(&rollout, &pin, id, status, wanted);
    match (found, unnamed(mirror, id)) {
        (Progress::Done(text), 0) => {
            let but = obstacle(status).map(|why| format!("; but {why}")).unwrap_or_default();
            Progress::Done(format!("{text}, in the names on every host{but}"))
        }
        (Progress::Done(text), 1) => {
            Progress::Pending(format!("{text}; the names of 1 host are not there yet"))
        }
        (Progress::Done(text), n) => {
            Progress::Pending(format!("{text}; the names of {n} hosts are not there yet"))
        }
        (found, _) => found,
    }
}

/// The same, but for the names.
fn judge(rollout: &Rollout, pin: &Pin, id: &ServiceId, status: &Status, wanted: Wanted) -> Progress {
    let paused = match &rollout.phase {
        Phase::Paused { why } => Some(format!(
            "the rollout is paused: {why}; put a better document, or let it go on with `evenkeel rollout resume {id}`"
        )),
        _ => None,
    };
    if wanted != Wanted::AtRest
        && let Some(why) = stands(rollout, pin, id, wanted == Wanted::Newest).or(paused.clone())
    {
        return Progress::Failed(why);
    }
    let holds = |kind| status.condition(kind).filter(|condition| condition.status);
    let degraded = holds(ConditionType::Degraded);
    let over = ["ProgressDeadline", REFUSED];
    if let Some(over) = degraded.filter(|condition| over.contains(&condition.reason.as_str())) {
        return Progress::Failed(over.message.clone());
    }
    let copies = status.copies.unwrap_or_default();
    let all = copies.ready == copies.desired && copies.running == copies.desired;
    let exchanged = match rollout.phase {
        Phase::Done => copies.updated == copies.desired,
        Phase::Rolling => false,
        Phase::Paused { .. } => wanted == Wanted::AtRest,
    };
    // What the status says of the rollout may be of a moment ago, and is what is shown next.
    if all && exchanged && holds(ConditionType::Progressing).is_none() {
        return Progress::Done(format!("{} of {} copies ready", copies.ready, copies.desired));
    }
    // Where only those are missing that failed, no other comes.
    let missing = copies.desired.saturating_sub(copies.ready) as usize;
    let only_failed = (1..=rollout.failed.len()).contains(&missing);
    if let Some(why) = paused.filter(|_| only_failed && !rollout.held) {
        return Progress::Failed(why);
    }
    let counts = format!(
        "{} of {} copies ready, {} of the new template",
        copies.ready, copies.desired, copies.updated
    );
    Progress::Pending(match obstacle(status) {
        Some(why) => format!("{counts}; {why}"),
        None => counts,
    })
}

/// What the leader says is in the way.
fn obstacle(status: &Status) -> Option<&str> {
    let degraded = status.condition(ConditionType::Degraded).filter(|condition| condition.status)?;
    Some(degraded.message.as_str()).filter(|why| !why.is_empty())
}

/// Why the template that is waited for does not come about by waiting.
fn stands(rollout: &Rollout, pin: &Pin, id: &ServiceId, newest: bool) -> Option<String> {
    let target = rollout.target.map_or("another".to_owned(), |target| format!("@{target}"));
    if pin.pause && (newest && rollout.instead_of.is_some() || rollout.held) {
        return Some(format!(
            "a person paused its rollout at template {target}; let it go on with `evenkeel rollout resume {id}`"
        ));
    }
    let instead_of = rollout.instead_of?;
    let pinned = pin.template == rollout.target && pin.of == Some(instead_of);
    match rollout.rejected.contains(&instead_of) {
        _ if pinned && !newest => None,
        true => {
            let why = rollout.evidence.get(&instead_of).map_or("its copies failed", String::as_str);
            Some(format!(
                "template @{instead_of} is rejected: {why}; {target} runs in its place: put a better document, or \
                 try it again with `evenkeel rollout retry {id}`"
            ))
        }
        false if newest => Some(format!(
            "a person pinned template {target}, and @{instead_of} waits; take that back with `evenkeel rollout \
             unpin {id}`"
        )),
        false => None,
    }
}

/// On how many hosts the names do not lead to the service's newest copies yet.
fn unnamed(mirror: &Mirror, id: &ServiceId) -> usize {
    let shards = mirror.list_json::<Endpoints>(&prefix::endpoints_of(id));
    let newest = shards.iter().map(|(_, shard)| shard.mod_revision).max().unwrap_or(0);
    let reports: BTreeMap<_, _> = mirror
        .list_json::<serde_json::Value>(&prefix::reports())
        .into_iter()
        .filter_map(|(key, found)| match key {
            Key::DnsReport(host) => {
                Some((host, serde_json::from_value::<DnsReport>(found.value).ok()?.revision))
            }
            _ => None,
        })
        .collect();
    let alive: BTreeSet<_> = mirror
        .list(&prefix::alive())
        .iter()
        .filter_map(|kv| match kv.key.parse() {
            Ok(Key::Alive(host)) => Some(host),
            _ => None,
        })
        .collect();
    alive.iter().filter(|host| reports.get(*host).copied().unwrap_or(0) < newest).count()
}

/// What was shown last: live lines on a terminal, one plain line a change elsewhere.
struct Shown {
    last: BTreeMap<ObjectRef, Progress>,
    bars: Option<(MultiProgress, BTreeMap<ObjectRef, ProgressBar>)>,
}

impl Shown {
    fn new() -> Self {
        Self {
            last: BTreeMap::new(),
            bars: output::is_lively().then(|| (MultiProgress::new(), BTreeMap::new())),
        }
    }

    fn show(&mut self, object: &ObjectRef, progress: &Progress) {
        if self.last.get(object) == Some(progress) {
            return;
        }
        self.last.insert(object.clone(), progress.clone());
        let Some((all, bars)) = &mut self.bars else {
            say!("{object}: {}", progress.text());
            return;
        };
        let bar = bars.entry(object.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(object.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        match progress {
            Progress::Pending(text) => bar.set_message(text.clone()),
            Progress::Done(text) => bar.finish_with_message(text.clone()),
            Progress::Failed(text) => bar.abandon_with_message(text.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_does_not_come_about_is_told_apart_from_one_that_a_person_chose() {
        let id: ServiceId = "shop/web".parse().unwrap();
        let rollout = |rejected: &[i64], held| Rollout {
            target: Some(790),
            instead_of: Some(812),
            rejected: rejected.iter().copied().collect(),
            evidence: rejected.iter().map(|n| (*n, "exited with code 1".to_owned())).collect(),
            held,
            ..Rollout::default()
        };
        let pinned = Pin { template: Some(790), of: Some(812), ..Pin::default() };
        let paused = Pin { pause: true, ..Pin::default() };
        for (rollout, pin, newest, clue) in [
            (
                rollout(&[812], false),
                Pin::default(),
                true,
                Some("@812 is rejected: exited with code 1; @790 runs"),
            ),
            (rollout(&[812], false), Pin::default(), false, Some("rollout retry shop/web")),
            (rollout(&[812], false), pinned.clone(), false, None),
            (rollout(&[], false), pinned.clone(), false, None),
            (rollout(&[], false), pinned.clone(), true, Some("a person pinned template @790")),
            (rollout(&[], false), paused.clone(), true, Some("a person paused its rollout at template @790")),
            (rollout(&[], false), paused.clone(), false, None),
            (rollout(&[], true), paused.clone(), false, Some("rollout resume shop/web")),
            (Rollout::default(), paused, true, None),
        ] {
            let said = stands(&rollout, &pin, &id, newest);
            match clue {
                Some(clue) => {
                    assert!(said.clone().is_some_and(|said| said.contains(clue)), "{said:?}: {clue}")
                }
                None => assert_eq!(said, None),
            }
        }
    }

    #[test]
    fn what_was_asked_for_is_judged_and_nothing_else() {
        let id: ServiceId = "shop/web".parse().unwrap();
        let condition = |kind: &str, status: bool, reason: &str, message: &str| serde_json::json!({"type": kind, "status": status, "reason": reason, "message": message, "since": 5});
        let status = |ready: u32, updated: u32, more: &[serde_json::Value]| -> Status {
            serde_json::from_value(serde_json::json!({
                "observed_revision": 7,
                "conditions": more,
                "copies": {"desired": 3, "running": ready, "ready": ready, "updated": updated},
            }))
            .unwrap()
        };
        let done = Rollout { target: Some(790), ..Rollout::default() };
        let back = Rollout { instead_of: Some(812), rejected: [812].into(), ..done.clone() };
        let failed = Rollout {
            phase: Phase::Paused { why: "no such image".to_owned() },
            failed: ["shop.web.3.n4".parse().unwrap()].into(),
            ..done.clone()
        };
        let held = Rollout { held: true, ..failed.clone() };
        let settled = [condition("Progressing", false, "Settled", "")];
        let pending = [condition("Degraded", true, "Pending", "slot 3: none of 3 hosts fits")];
        let refused =
            [condition("Degraded", true, "Refused", "slot 1: host policy on h1 does not allow devices")];
        let rolls = [condition("Progressing", true, "RollingOut", "3 of 3 copies are of template 790")];
        for (rollout, status, wanted, expected) in [
            (&done, status(3, 3, &settled), Wanted::Newest, "done: 3 of 3 copies ready"),
            // The rollout is done, and its status does not say so yet.
            (&done, status(3, 3, &rolls), Wanted::Newest, "pending: 3 of 3"),
            (
                &done,
                status(2, 3, &pending),
                Wanted::Newest,
                "pending: 2 of 3 copies ready, 3 of the new template; slot 3: none of 3 hosts fits",
            ),
            (
                &done,
                status(2, 2, &refused),
                Wanted::Newest,
                "failed: slot 1: host policy on h1 does not allow devices",
            ),
            // A template that was rejected before is not what a number of copies is about.
            (&back, status(3, 3, &settled), Wanted::Newest, "failed: template @812 is rejected"),
            (&back, status(3, 3, &settled), Wanted::AtRest, "done: 3 of 3 copies ready"),
            (&back, status(2, 2, &settled), Wanted::AtRest, "pending: 2 of 3"),
            (&failed, status(3, 2, &settled), Wanted::Well, "failed: the rollout is paused: no such image"),
            (&failed, status(3, 2, &settled), Wanted::AtRest, "done: 3 of 3 copies ready"),
            (&failed, status(2, 1, &settled), Wanted::AtRest, "failed: the rollout is paused: no such image"),
            // Two are on their way, and only one failed.
            (&failed, status(1, 1, &settled), Wanted::AtRest, "pending: 1 of 3"),
            (&held, status(2, 1, &settled), Wanted::AtRest, "pending: 2 of 3"),
        ] {
            let said = match judge(rollout, &Pin::default(), &id, &status, wanted) {
                Progress::Done(text) => format!("done: {text}"),
                Progress::Pending(text) => format!("pending: {text}"),
                Progress::Failed(text) => format!("failed: {text}"),
            };
            assert!(said.starts_with(expected), "{said}, not {expected}");
        }
    }
}
