//! From text to documents: YAML or JSON, with every refusal at its line and column.
//!
//! A text passes five rooms: `stream` cuts it into documents, `node` reads each into a tree that knows its
//! places, `dollar` settles what `$` means, `keys` decides about every key that is ignored or refused, and
//! `raw` with `lower` bring the many forms that Compose allows to the one that controllers see.

mod check;
mod de;
pub mod dollar;
mod edit;
mod envelope;
mod error;
mod interpolate;
pub mod keys;
mod lower;
mod node;
pub mod quote;
mod raw;
mod schema;
mod stream;
mod suggest;

use std::fmt;

use crate::healthcheck::HealthCheckSpec;
use crate::host::HostSpec;
use crate::key::Key;
use crate::meta::{Kind, Metadata, ObjectRef};
use crate::name::Namespace;
use crate::network::NetworkSpec;
use crate::service::ServiceSpec;

pub use edit::set_replicas;
pub use error::{DocumentError, Problem, Warning, tame};
pub use interpolate::{InterpolationError, interpolate};
pub use schema::{schema, schema_of_all};
pub use suggest::near;

use error::{Fault, Mark};
use stream::Piece;

/// The most that one document may be: what a store key takes without strain.
pub const MAX_BYTES: usize = 256 * 1024;

/// Where a text comes from: it names the text in errors, and a store key names the object too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, or any other source by a name that people know. Documents name their object themselves.
    File {
        /// The name, as shown in errors.
        name: String,
        /// The namespace of documents that name none.
        namespace: Option<Namespace>,
    },
    /// A store key: it is the object's name, and the document may leave name, namespace and kind out.
    Key(ObjectRef),
}

impl Origin {
    /// A file without a default namespace.
    pub fn file(name: impl Into<String>) -> Self {
        Origin::File { name: name.into(), namespace: None }
    }

    /// A file with a namespace for documents that name none.
    pub fn file_in(name: impl Into<String>, namespace: Namespace) -> Self {
        Origin::File { name: name.into(), namespace: Some(namespace) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, .. } => f.write_str(name),
            Origin::Key(object) => Key::Document(object.clone()).fmt(f),
        }
    }
}

/// A document that was read, and is valid in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object that it describes.
    pub object: ObjectRef,
    /// Its metadata, as written.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: DocumentSpec,
    /// What its author should hear of.
    pub warnings: Vec<Warning>,
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    /// Its own text, without the rest of its stream: what is put under the store key.
    pub source: String,
}

impl Document {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.object.kind()
    }
}

/// What is wanted, by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum DocumentSpec {
    /// Of a Service.
    Service(Box<ServiceSpec>),
    /// Of a Network.
    Network(NetworkSpec),
    /// Of a HealthCheck.
    HealthCheck(HealthCheckSpec),
    /// Of a Host.
    Host(HostSpec),
}

/// Reads a text that holds exactly one document.
///
/// # Errors
/// The first problem, with its place.
pub fn parse_document(text: &str, from: &Origin) -> Result<Document, DocumentError> {
    let fail = |fault: Fault| fault.into_error(from.to_string(), text);
    // Before anything else looks at it: a text of any size must not cost more than a glance.
    size(text.len()).map_err(fail)?;
    match stream::split(text).as_slice() {
        [] => Err(fail(Fault::new("there is no document in this text"))),
        [piece] => parse_piece(*piece, from).map_err(fail),
        [_, second, ..] => {
            let at = Mark { line: second.base.lines + 1, column: 1, offset: second.base.bytes, len: 0 };
            let problem =
                "a second document begins here, and only one may stand in a store key; give each its own";
            Err(fail(Fault::new(problem).at(at)))
        }
    }
}

/// Like [`parse_document`], for what may not even be text.
///
/// # Errors
/// The first problem, with its place.
pub fn parse_document_bytes(bytes: &[u8], from: &Origin) -> Result<Document, DocumentError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_document(text, from),
        Err(error) => Err(not_text(bytes, error.valid_up_to(), from)),
    }
}

/// Reads a stream of documents, each good or bad for itself, in the order of the file. Empty documents are
/// left out.
pub fn parse_documents(text: &str, from: &Origin) -> Vec<Result<Document, DocumentError>> {
    let fail = |fault: Fault| fault.into_error(from.to_string(), text);
    stream::split(text)
        .into_iter()
        .map(|piece| {
            let start = Mark { line: piece.base.lines + 1, column: 1, offset: piece.base.bytes, len: 0 };
            size(piece.text.len())
                .map_err(|fault| fault.at(start))
                .and_then(|()| parse_piece(piece, from))
                .map_err(fail)
        })
        .collect()
}

/// Like [`parse_documents`], for what may not even be text.
pub fn parse_documents_bytes(bytes: &[u8], from: &Origin) -> Vec<Result<Document, DocumentError>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_documents(text, from),
        Err(error) => vec![Err(not_text(bytes, error.valid_up_to(), from))],
    }
}

fn parse_piece(piece: Piece<'_>, from: &Origin) -> Result<Document, Fault> {
    let mut root = node::load(piece.text, piece.base)?;
    envelope::of_compose(&root)?;
    dollar::unescape(&mut root)?;
    envelope::document(root, piece, from)
}

fn size(bytes: usize) -> Result<(), Fault> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Fault::new(format!(
        "the document has {} KiB, and at most {} fit; large files belong into the image or a volume",
        bytes.div_ceil(1024),
        MAX_BYTES / 1024,
    )))
}

fn not_text(bytes: &[u8], good: usize, from: &Origin) -> DocumentError {
    let before = std::str::from_utf8(bytes.get(..good).unwrap_or_default()).unwrap_or_default();
    let last = before.rsplit('\n').next().unwrap_or_default();
    let at = Mark {
        line: before.matches('\n').count() as u64 + 1,
        column: last.chars().count() as u64 + 1,
        offset: good,
        len: 0,
    };
    Fault::new("here is a byte that is no UTF-8 text; save the document as UTF-8")
        .at(at)
        .into_error(from.to_string(), before)
}

#[cfg(test)]
mod tests;
