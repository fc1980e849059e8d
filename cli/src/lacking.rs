//! Networks that services name and nobody has applied: their copies would wait, and who applies hears of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::NetworkName;
use evenkeel_api::text::{Document, DocumentSpec};
use evenkeel_runtime::store::Store;

use crate::failure::Failure;

/// A warning for each Network that documents need, and that is neither among them nor in the store.
///
/// # Errors
/// The store does not answer.
pub async fn networks(store: &Arc<dyn Store>, documents: &[&Document]) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for (network, services) in needed(documents) {
        if store.get(&Key::Document(ObjectRef::Network(network.clone()))).await?.0.is_none() {
            warnings.push(warning(&network, &services));
        }
    }
    Ok(warnings)
}

/// The Networks that documents need and do not bring, each with the services that are on it.
fn needed<'d>(documents: &[&'d Document]) -> BTreeMap<NetworkName, Vec<&'d ObjectRef>> {
    let brought: BTreeSet<&ObjectRef> = documents.iter().map(|document| &document.object).collect();
    let mut needed: BTreeMap<NetworkName, Vec<&ObjectRef>> = BTreeMap::new();
    for document in documents {
        let DocumentSpec::Service(spec) = &document.spec else { continue };
        for network in spec.template.networks() {
            if !brought.contains(&ObjectRef::Network(network.clone())) {
                needed.entry(network).or_default().push(&document.object);
            }
        }
    }
    needed
}

fn warning(network: &NetworkName, services: &[&ObjectRef]) -> String {
    let who = match services {
        [one] => format!("{one} waits"),
        [first, rest @ ..] => format!("{first} and {} more wait", rest.len()),
        [] => String::new(),
    };
    let pool = "{ipam: {config: [{subnet: 10.88.0.0/16}]}}";
    format!(
        "there is no Network {network}: {who} for it; apply one, with a pool of addresses that nothing else uses:\n  \
         {{apiVersion: evenkeel/v1, kind: Network, metadata: {{name: {network}}}, spec: {pool}}}"
    )
}

#[cfg(test)]
mod tests {
    use evenkeel_api::text::{Origin, parse_documents};

    use super::*;

    #[test]
    fn what_is_not_brought_is_needed_and_the_warning_has_the_document() {
        let text = "apiVersion: evenkeel/v1\nkind: Network\nmetadata: {name: lan}\nspec: {ipam: {config: [{subnet: 10.9.0.0/16}]}}\n";
        let service = |name: &str, spec: &str| {
            format!(
                "---\napiVersion: evenkeel/v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{image: a, {spec}}}\n"
            )
        };
        let text = [
            text.to_owned(),
            service("a", "networks: [lan]"),
            service("b", "networks: [lan, far]"),
            service("c", "tty: true"),
            service("d", "tty: true"),
            service("e", "network_mode: host"),
        ]
        .concat();
        let documents: Vec<Document> =
            parse_documents(&text, &Origin::file("")).into_iter().map(Result::unwrap).collect();
        let documents: Vec<&Document> = documents.iter().collect();
        let warnings: Vec<String> =
            needed(&documents).iter().map(|(network, services)| warning(network, services)).collect();
        assert!(
            warnings[0].starts_with("there is no Network default: Service shop/c and 1 more wait for it"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].starts_with("there is no Network far: Service shop/b waits for it"),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 2);
        for warning in &warnings {
            let (_, document) = warning.split_once('\n').unwrap();
            assert!(parse_documents(document, &Origin::file("")).iter().all(Result::is_ok), "{document}");
        }
    }
}
