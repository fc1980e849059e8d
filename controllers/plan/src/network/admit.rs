//! Admission: from the text of a document to the spec that counts, or to what is wrong with it.

use std::collections::BTreeMap;

use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::NetworkName;
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::Accepted;
use evenkeel_api::text::{DocumentSpec, Origin, parse_document_bytes};

/// A document as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its text.
    pub text: Vec<u8>,
    /// When it was last changed.
    pub mod_revision: i64,
    /// When it was made.
    pub create_revision: i64,
}

/// Reads a document, and holds it against what is accepted already.
///
/// # Errors
/// What is wrong, in one sentence for its author.
pub fn admit(
    name: &NetworkName,
    document: &Document,
    accepted: &BTreeMap<NetworkName, Accepted<NetworkSpec>>,
) -> Result<Accepted<NetworkSpec>, String> {
    let origin = Origin::Key(ObjectRef::Network(name.clone()));
    let parsed = parse_document_bytes(&document.text, &origin).map_err(|error| error.one_line())?;
    let DocumentSpec::Network(spec) = parsed.spec else {
        return Err(format!("this is a {}, not a Network", parsed.object.kind()));
    };
    if let Some(before) = accepted.get(name) {
        unchanged(&before.spec, &spec)?;
    }
    for (other, taken) in accepted.iter().filter(|(other, _)| *other != name) {
        for pool in spec.pools() {
            if let Some(theirs) = taken.spec.pools().find(|theirs| theirs.overlaps(&pool)) {
                return Err(format!("pool {pool} overlaps pool {theirs} of Network {other}"));
            }
        }
    }
    Ok(Accepted {
        source_revision: document.mod_revision,
        create_revision: document.create_revision,
        template: None,
        deleting: false,
        metadata: named(name, parsed.metadata),
        spec,
    })
}

fn named(name: &NetworkName, mut metadata: Metadata) -> Metadata {
    metadata.name = name.as_str().parse().ok();
    metadata
}

/// Hosts have parts of the pools and containers have addresses: pools can be appended, nothing else.
fn unchanged(before: &NetworkSpec, after: &NetworkSpec) -> Result<(), String> {
    let advice = "delete the network and make it anew, or give the new pools another network";
    let mut pools = after.pools();
    for pool in before.pools() {
        match pools.next() {
            Some(same) if same == pool => {}
            Some(other) => {
                return Err(format!(
                    "pool {pool} cannot become {other}: pools can only be appended; {advice}"
                ));
            }
            None => {
                return Err(format!("pool {pool} cannot be removed: pools can only be appended; {advice}"));
            }
        }
    }
    let (old, new) = (before.host_prefix_length(), after.host_prefix_length());
    if old == new {
        Ok(())
    } else {
        Err(format!(
            "host_prefix_length cannot change from {old} to {new}: hosts have their parts already; {advice}"
        ))
    }
}
