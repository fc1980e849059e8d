//! Waiting until what was asked for is so: documents accepted, every copy ready, the names leading to it on
//! every host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{ConditionType, DnsReport, Endpoints, Phase, Pin, Rollout, Status};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

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

/// Waits for `objects`, each with the revision of its document that must be reached (0: any), at most for
/// `patience`.
///
/// # Errors
/// One of them fails (exit code 3), or the time runs out (exit code 4).
pub async fn until(
    store: &Arc<dyn Store>,
    objects: &[(ObjectRef, i64)],
    patience: Duration,
) -> Result<(), Failure> {
    let prefixes =
        [prefix::rollouts(), prefix::pins(), prefix::endpoints(), prefix::reports(), prefix::alive()]
            .into_iter()
            .chain(Kind::ALL.map(prefix::status));
    let mirror = Mirror::start(store.clone(), prefixes.collect());
    let mut changed = mirror.subscribe();
    let end = Instant::now() + patience;
    let mut shown = Shown::new();
    tokio::time::timeout_at(end, mirror.synced())
        .await
        .map_err(|_| Failure::timed_out("etcd did not answer in time; the documents are stored"))?;
    loop {
        let progress: Vec<Progress> =
            objects.iter().map(|(object, revision)| look(&mirror, object, *revision)).collect();
        for ((object, _), progress) in objects.iter().zip(&progress) {
            shown.show(object, progress);
        }
        if progress.iter().all(|progress| matches!(progress, Progress::Done(_))) {
            return Ok(());
        }
        let line = |((object, _), progress): (&(ObjectRef, i64), &Progress)| {
            format!("{object}: {}", progress.text())
        };
        let failed: Vec<String> = objects
            .iter()
            .zip(&progress)
            .filter(|(_, p)| matches!(p, Progress::Failed(_)))
            .map(line)
            .collect();
        if !failed.is_empty() {
            return Err(Failure::not_converged(failed.join("\n")));
        }
        if tokio::time::timeout_at(end, changed.next()).await.is_err() {
            let pending: Vec<String> = objects
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

fn look(mirror: &Mirror, object: &ObjectRef, revision: i64) -> Progress {
    let Some(status) = mirror.json::<Status>(&Key::Status(object.clone())).map(|found| found.value) else {
        return Progress::Pending("no controller has looked at it yet".to_owned());
    };
    if status.observed_revision < revision {
        return Progress::Pending("no controller has looked at the new document yet".to_owned());
    }
    if let Some(valid) = status.condition(ConditionType::Valid).filter(|condition| !condition.status) {
        return Progress::Failed(valid.message.clone());
    }
    match object {
        ObjectRef::Service(id) => service(mirror, id, &status, revision > 0),
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

/// How far a service is; `newest`: its document's own template is waited for, not one that a person put in
/// its place.
fn service(mirror: &Mirror, id: &ServiceId, status: &Status, newest: bool) -> Progress {
    let rollout =
        mirror.json::<Rollout>(&Key::Rollout(id.clone())).map(|found| found.value).unwrap_or_default();
    let pin = mirror.json::<Pin>(&Key::Pin(id.clone()));
    if rollout.resumed != pin.as_ref().map(|pin| pin.mod_revision) {
        return Progress::Pending(
            "no controller has looked at what was said about its rollout yet".to_owned(),
        );
    }
    if let Some(why) = stands(&rollout, &pin.map(|pin| pin.value).unwrap_or_default(), id, newest) {
        return Progress::Failed(why);
    }
    if let Phase::Paused { why } = &rollout.phase {
        return Progress::Failed(format!(
            "the rollout is paused: {why}; put a better document, or let it go on with `evenkeel rollout resume {id}`"
        ));
    }
    let copies = status.copies.unwrap_or_default();
    let counts = format!(
        "{} of {} copies ready, {} of the new template",
        copies.ready, copies.desired, copies.updated
    );
    let degraded = status
        .condition(ConditionType::Degraded)
        .filter(|condition| condition.status)
        .map(|condition| condition.message.clone());
    if let Some(late) = status.condition(ConditionType::Degraded).filter(|it| it.reason == "ProgressDeadline")
    {
        return Progress::Failed(late.message.clone());
    }
    let ready = copies.ready == copies.desired
        && copies.updated == copies.desired
        && copies.running == copies.desired;
    if !ready || rollout.phase != Phase::Done {
        return Progress::Pending(match degraded {
            Some(why) if !why.is_empty() => format!("{counts}; {why}"),
            _ => counts,
        });
    }
    match unnamed(mirror, id) {
        0 => Progress::Done(match degraded {
            Some(why) if !why.is_empty() => {
                format!("{} of {} copies ready, in the names on every host; but {why}", copies.ready, copies.desired)
            }
            _ => format!("{} of {} copies ready, in the names on every host", copies.ready, copies.desired),
        }),
        1 => Progress::Pending(format!("{counts}; the names of 1 host are not there yet")),
        n => Progress::Pending(format!("{counts}; the names of {n} hosts are not there yet")),
    }
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
}
