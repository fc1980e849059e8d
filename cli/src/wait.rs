//! Waiting until what was asked for is so: documents accepted, every copy ready, the names leading to it on
//! every host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{ConditionType, DnsReport, Endpoints, Phase, Rollout, Status};
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
    let prefixes = [prefix::rollouts(), prefix::endpoints(), prefix::reports(), prefix::alive()]
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
        ObjectRef::Service(id) => service(mirror, id, &status),
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

fn service(mirror: &Mirror, id: &ServiceId, status: &Status) -> Progress {
    let rollout =
        mirror.json::<Rollout>(&Key::Rollout(id.clone())).map(|found| found.value).unwrap_or_default();
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
        0 => Progress::Done(format!(
            "{} of {} copies ready, in the names on every host",
            copies.ready, copies.desired
        )),
        1 => Progress::Pending(format!("{counts}; the names of 1 host are not there yet")),
        n => Progress::Pending(format!("{counts}; the names of {n} hosts are not there yet")),
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
