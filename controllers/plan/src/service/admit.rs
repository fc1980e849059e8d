//! Admission: from a document to what holds. An invalid document changes only what is said of it; equal
//! content changes nothing that runs.

use std::time::Duration;

use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::Accepted;
use evenkeel_api::service::ServiceSpec;

use super::deletions::{Fate, fate};
use super::memory::Memory;
use super::rollback;
use super::world::{At, Document, Service};

/// What admission comes to.
#[derive(Debug, Clone)]
pub(crate) struct Admission<S> {
    /// What holds now; `None`: nothing ever did.
    pub accepted: Option<Accepted<S>>,
    /// The newest revision of the document that was looked at.
    pub observed: i64,
    /// Why the newest document does not hold, for people.
    pub invalid: Option<String>,
    /// The document is gone, and the object is kept: too many went at once.
    pub held: bool,
    /// The document is gone; look again after this time.
    pub wait: Option<Duration>,
}

/// Admit a service's document. Numbers of templates begin above `floor`.
pub(crate) fn service(
    service: &Service,
    id: &ServiceId,
    floor: i64,
    memory: &Memory,
    now: Duration,
) -> Admission<ServiceSpec> {
    let object = ObjectRef::Service(id.clone());
    let mut admission = admit(&object, service.document.as_ref(), service.accepted.as_ref(), memory, now);
    let known = service.accepted.as_ref().map(|accepted| &accepted.value);
    if let Some(accepted) = &mut admission.accepted {
        accepted.template = match known {
            Some(known) if known.spec.template == accepted.spec.template => known.template,
            _ => rollback::rejected_as(service, &accepted.spec.template)
                .or_else(|| Some(number(service, floor, accepted.source_revision))),
        };
    }
    admission
}

/// The number of a new template: its document's revision, unless that may have been a template's number
/// before the store went back.
fn number(service: &Service, floor: i64, source_revision: i64) -> i64 {
    let known = service.revisions.keys().next_back().copied().unwrap_or(0);
    let used = known.max(floor);
    if source_revision > used { source_revision } else { used + 1 }
}

/// Admit a document of any kind; the number of its template is the caller's.
pub(crate) fn admit<S: Clone>(
    object: &ObjectRef,
    document: Option<&Document<S>>,
    known: Option<&At<Accepted<S>>>,
    memory: &Memory,
    now: Duration,
) -> Admission<S> {
    let known = known.map(|known| known.value.clone());
    let observed = document.map(|document| document.mod_revision);
    let observed = observed.or(known.as_ref().map(|known| known.source_revision)).unwrap_or(0);
    let mut admission = Admission { accepted: known, observed, invalid: None, held: false, wait: None };
    match document.map(|document| (document, &document.parsed)) {
        Some((document, Ok(parsed))) => {
            admission.accepted = Some(Accepted {
                source_revision: document.mod_revision,
                create_revision: document.create_revision,
                template: None,
                deleting: false,
                metadata: parsed.metadata.clone(),
                spec: parsed.spec.clone(),
            });
        }
        Some((_, Err(why))) => {
            let runs = match &admission.accepted {
                Some(accepted) => format!("running revision {}", accepted.source_revision),
                None => "no revision of it was ever valid".to_owned(),
            };
            admission.invalid = Some(format!("{why}; {runs}"));
        }
        None => {
            if let Some(accepted) = admission.accepted.as_mut().filter(|accepted| !accepted.deleting) {
                match fate(memory, object, now) {
                    Fate::Delete => accepted.deleting = true,
                    Fate::Wait(time) => admission.wait = Some(time),
                    Fate::Held => admission.held = true,
                }
            }
        }
    }
    admission
}
