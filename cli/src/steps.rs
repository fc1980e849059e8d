//! What applying documents would do to the store, one step a document.

use std::sync::Arc;

use evenkeel_api::key::Key;
use evenkeel_runtime::store::Store;

use crate::documents::FromFile;
use crate::failure::Failure;

/// What applying one document does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// There is no such document yet.
    Created,
    /// It differs from the stored one.
    Changed,
    /// It is the stored one.
    Unchanged,
}

/// One document beside the stored one.
#[derive(Debug, Clone)]
pub struct Step {
    /// The document.
    pub found: FromFile,
    /// What applying it does.
    pub effect: Effect,
    /// The revision of the stored document; 0: there is none.
    pub revision: i64,
}

/// Every document beside the stored one.
///
/// # Errors
/// The store does not answer.
pub async fn steps(store: &Arc<dyn Store>, documents: Vec<FromFile>) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for found in documents {
        let (kv, _) = store.get(&Key::Document(found.document.object.clone())).await?;
        let (effect, revision) = match kv {
            None => (Effect::Created, 0),
            Some(kv) if kv.value == found.document.source.as_bytes() => (Effect::Unchanged, kv.mod_revision),
            Some(kv) => (Effect::Changed, kv.mod_revision),
        };
        steps.push(Step { found, effect, revision });
    }
    Ok(steps)
}
