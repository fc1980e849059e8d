//! `evenkeel diff`: files beside the documents in the store.

use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::name::Namespace;
use evenkeel_api::text::{Document, DocumentSpec, Origin, parse_document_bytes};
use evenkeel_runtime::store::{Kv, Store};
use similar::TextDiff;

use crate::documents::{Files, FromFile};
use crate::failure::Failure;
use crate::output::{is_lively, say};

/// What to compare.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel diff -f shop/                  what `apply -f shop/` would change in the store
  evenkeel diff -f web.yaml --canonical   without comments, order and forms of writing

Exit codes: 0 nothing differs, 1 something does, 2 it could not be compared")]
pub struct Diff {
    #[command(flatten)]
    files: Files,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Compare what documents want, not how it is written
    #[arg(long)]
    canonical: bool,
}

/// The exit code of what could not be compared: 1 says that something differs, as with diff(1).
const TROUBLE: u8 = 2;

impl Diff {
    /// Prints what differs; whether anything does.
    ///
    /// # Errors
    /// A document is bad, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<bool, Failure> {
        self.compare(store).await.map_err(|failure| Failure { code: TROUBLE, ..failure })
    }

    async fn compare(&self, store: &Arc<dyn Store>) -> Result<bool, Failure> {
        let mut differs = false;
        for found in self.files.read(self.namespace.as_ref())? {
            let (kv, _) = store.get(&Key::Document(found.document.object.clone())).await?;
            let (old, new) = match self.canonical {
                true => canonical(&found, kv.as_ref())?,
                false => (kv.as_ref().map(written).unwrap_or_default(), found.document.source.clone()),
            };
            if old == new {
                continue;
            }
            differs = true;
            let revision = kv.map_or("not there".to_owned(), |kv| format!("revision {}", kv.mod_revision));
            print(&format!("--- {} ({revision})", Key::Document(found.document.object.clone())));
            print(&format!("+++ {} line {}", found.file, found.document.line));
            let compared = TextDiff::from_lines(&old, &new);
            compared.unified_diff().to_string().lines().for_each(print);
        }
        Ok(differs)
    }
}

fn written(kv: &Kv) -> String {
    String::from_utf8_lossy(&kv.value).into_owned()
}

/// Both as what they come to. A stored document that is not valid has no such form, and is compared as written.
fn canonical(found: &FromFile, kv: Option<&Kv>) -> Result<(String, String), Failure> {
    let new = form(&found.document)?;
    let Some(kv) = kv else { return Ok((String::new(), new)) };
    match parse_document_bytes(&kv.value, &Origin::Key(found.document.object.clone())) {
        Ok(stored) => Ok((form(&stored)?, new)),
        Err(error) => {
            eprintln!(
                "warning: the stored {} is not valid, and shown as written: {error}",
                found.document.object
            );
            Ok((written(kv), new))
        }
    }
}

/// Labels and what is wanted, in one order and one form. Names are those of the key, however they were written.
fn form(document: &Document) -> Result<String, Failure> {
    let spec = match &document.spec {
        DocumentSpec::Service(spec) => serde_json::to_value(spec),
        DocumentSpec::Network(spec) => serde_json::to_value(spec),
        DocumentSpec::HealthCheck(spec) => serde_json::to_value(spec),
        DocumentSpec::Host(spec) => serde_json::to_value(spec),
    };
    let spec = spec.map_err(Failure::new)?;
    let form = serde_json::json!({"labels": document.metadata.labels, "spec": spec});
    serde_saphyr::to_string(&form).map_err(Failure::new)
}

fn print(line: &str) {
    let colour = match line.as_bytes() {
        [b'-', ..] => 31,
        [b'+', ..] => 32,
        [b'@', ..] => 36,
        _ => 0,
    };
    match is_lively() && colour > 0 {
        true => say!("\u{1b}[{colour}m{line}\u{1b}[0m"),
        false => say!("{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        let text = format!("apiVersion: evenkeel/v1\nkind: Service\n{text}\n");
        evenkeel_api::text::parse_document(&text, &Origin::file("web.yaml")).unwrap()
    }

    #[test]
    fn the_canonical_form_is_the_same_however_it_is_written() {
        let one =
            document("metadata: {name: web, namespace: shop}\nspec: {image: web, environment: [A=1, B=2]}");
        let other = document(
            "metadata: {namespace: shop, name: web}\nspec:\n  environment: {B: '2', A: '1'} # both\n  image: web",
        );
        let third =
            document("metadata: {name: web, namespace: shop}\nspec: {image: web, environment: [A=1, B=3]}");
        assert_eq!(form(&one).unwrap(), form(&other).unwrap());
        assert_ne!(form(&one).unwrap(), form(&third).unwrap());
    }
}
