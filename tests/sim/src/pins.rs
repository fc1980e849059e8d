//! What people say about rollouts: what the commands would write, from what stands in the store.

use std::collections::BTreeSet;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Accepted, Phase, Pin, Rollout};
use evenkeel_api::service::ServiceSpec;
use evenkeel_etcd::MemoryStore;
use serde::de::DeserializeOwned;

use crate::act::Word;
use crate::chance::Chance;

fn read<T: DeserializeOwned>(store: &MemoryStore, key: &Key) -> Option<T> {
    let kvs = store.peek(&key.to_string());
    let kv = kvs.iter().find(|kv| kv.key == key.to_string())?;
    serde_json::from_slice(&kv.value).ok()
}

/// The new word on a service; `None`: the command refuses.
pub fn say(store: &MemoryStore, id: &ServiceId, word: Word, pick: u64) -> Option<Pin> {
    let rollout: Rollout = read(store, &Key::Rollout(id.clone()))?;
    let pin: Pin = read(store, &Key::Pin(id.clone())).unwrap_or_default();
    let accepted: Accepted<ServiceSpec> = read(store, &Key::Accepted(ObjectRef::Service(id.clone())))?;
    let newest = accepted.template?;
    let kept: BTreeSet<i64> = (store.peek(&prefix::revisions_of(id)).iter())
        .filter_map(|kv| match kv.key.parse() {
            Ok(Key::Revision(_, number)) => Some(number),
            _ => None,
        })
        .collect();
    let to = |number: i64| {
        (number != newest).then(|| Pin { template: Some(number), of: Some(newest), ..Pin::default() })
    };
    let pinned = pin.template.is_some() && pin.of == Some(newest);
    match word {
        Word::Pause if pin.pause => None,
        Word::Pause => Some(Pin { pause: true, resume: None, retry: None, ..pin }),
        Word::Resume => {
            let paused = matches!(rollout.phase, Phase::Paused { .. });
            let resume = rollout.target.filter(|_| paused);
            (paused || pin.pause).then_some(Pin { pause: false, resume, retry: None, ..pin })
        }
        Word::Undo if pinned => None,
        Word::Undo => {
            let mut good = rollout.proven.iter().copied().chain(rollout.current).rev();
            let other = |n: &i64| Some(*n) != rollout.target && *n != newest;
            to(good.find(|n| other(n) && kept.contains(n) && !rollout.rejected.contains(n))?)
        }
        Word::Back => to(*Chance::new(pick, "back").pick(&kept.into_iter().collect::<Vec<_>>())?),
        Word::Retry => {
            let may = rollout.rejected.contains(&newest) && !pin.pause && !pinned;
            may.then(|| Pin { retry: Some(newest), ..Pin::default() })
        }
        Word::Unpin => {
            let restarts = pin.restart.is_some() && rollout.phase != Phase::Done;
            (pin.pause || pin.template.is_some() || restarts).then(Pin::default)
        }
        Word::Restart => {
            let stands = pin.pause || matches!(rollout.phase, Phase::Paused { .. });
            (!stands).then_some(Pin { restart: Some(rollout.seq), resume: None, retry: None, ..pin })
        }
    }
}
