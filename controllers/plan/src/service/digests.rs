//! What tags mean: the image that the first host found a template's tag to be is the one that all later copies
//! of that template are made from.

use evenkeel_api::key::Key;
use evenkeel_api::record::Digest;

use super::batch::{MAX_BATCH, Write};
use super::draft::Draft;
use super::world::Service;

/// Write down what hosts tell of templates of which nothing is known yet.
pub(crate) fn pin(draft: &mut Draft<'_>, service: &Service) {
    for copy in service.copies.values() {
        let (Some(record), Some(observed)) = (&copy.record, &copy.observed) else { continue };
        let number = record.value.template.revision;
        let (Some(template), Some(digest)) = (service.revisions.get(&number), &observed.digest) else {
            continue;
        };
        let batch = &mut draft.plan.batch;
        let key = Key::Digest(draft.id.clone(), number);
        let revision = Key::Revision(draft.id.clone(), number);
        let goes = batch.writes.contains_key(&revision);
        let before = service.digests.get(&number);
        let known = before.is_some_and(|at| at.value.is_some()) || batch.writes.contains_key(&key);
        if goes || known || template.value.template.image.contains('@') || batch.writes.len() >= MAX_BATCH {
            continue;
        }
        let value = Digest { digest: digest.clone(), host: copy.host.clone() };
        batch.put(key, before.map_or(0, |at| at.mod_revision), Write::Digest(value));
        batch.guards.insert(revision, template.mod_revision);
    }
}
