//! What is written, and what becomes of it.

mod envelope;
mod forms;
mod interpolation;
mod kinds;
mod refusals;
mod robust;
mod tables;

use super::*;
use crate::service::ServiceSpec;

/// A document around the lines of a Service's spec; `image` is there already.
fn document(body: &str) -> String {
    let mut text =
        "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  image: a\n"
            .to_owned();
    for line in body.lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn read(text: &str) -> Result<Document, DocumentError> {
    parse_document(text, &Origin::file("web.yaml"))
}

/// The Service of a body, or the problem on one line without its place.
fn service(body: &str) -> Result<ServiceSpec, String> {
    match read(&document(body)) {
        Ok(Document { spec: DocumentSpec::Service(spec), .. }) => Ok(*spec),
        Ok(other) => Err(format!("no Service: {}", other.object)),
        Err(error) => Err(error.sentence()),
    }
}

/// The problem with a document of another kind.
fn problem(kind: &str, spec: &str) -> Option<String> {
    let namespace = if matches!(kind, "Service" | "HealthCheck") { ", namespace: shop" } else { "" };
    let text =
        format!("apiVersion: evenkeel/v1\nkind: {kind}\nmetadata: {{name: x{namespace}}}\nspec: {spec}\n");
    read(&text).err().map(|error| error.sentence())
}
