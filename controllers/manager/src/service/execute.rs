//! From a plan to a transaction of the store.

use bytes::Bytes;
use evenkeel_plan::service::{Batch, Happening, Write};
use evenkeel_runtime::leader::Lead;
use evenkeel_runtime::store::TxnBuilder;
use evenkeel_runtime::writer::NewEvent;
use serde::Serialize;

/// The transaction that does a batch, if we still lead and nothing moved that it relies on.
pub(super) fn transaction(batch: &Batch, lead: &Lead) -> Result<TxnBuilder, serde_json::Error> {
    let mut txn = TxnBuilder::new().if_unchanged(&lead.key, lead.mod_revision);
    for (key, revision) in &batch.guards {
        txn = txn.if_unchanged(key, *revision);
    }
    for (key, write) in &batch.writes {
        txn = match write {
            Write::Delete => txn.delete(key),
            Write::Accepted(value) => txn.put(key, json(value)?),
            Write::AcceptedHost(value) => txn.put(key, json(value)?),
            Write::Revision(value) => txn.put(key, json(value)?),
            Write::Digest(value) => txn.put(key, json(value)?),
            Write::Rollout(value) => txn.put(key, json(value)?),
            Write::Instance(value) => txn.put(key, json(value)?),
            Write::Endpoints(value) => txn.put(key, json(value)?),
            Write::Status(value) => txn.put(key, json(value)?),
            Write::Brakes(value) => txn.put(key, json(value)?),
        };
    }
    Ok(txn)
}

fn json(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}

/// An event to tell.
pub(super) fn event(happening: Happening) -> NewEvent {
    let Happening { object, instance, warning, reason, message } = happening;
    NewEvent { object, instance, warning, reason: reason.to_owned(), message }
}
