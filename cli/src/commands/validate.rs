//! `evenkeel validate`: documents without a cluster.

use std::path::PathBuf;

use clap::Args;
use evenkeel_api::name::Namespace;

use crate::documents;
use crate::failure::Failure;
use crate::output::say;

/// What to validate.
#[derive(Debug, Args)]
pub struct Validate {
    /// Files or folders with documents (- is standard input)
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

impl Validate {
    /// Prints every document with its warnings.
    ///
    /// # Errors
    /// Some are bad; each is shown with its place.
    pub fn run(&self) -> Result<(), Failure> {
        for found in documents::read(&self.files, self.namespace.as_ref())? {
            say!("{}: {} is valid", found.file, found.document.object);
            for warning in &found.document.warnings {
                say!("  warning: {warning}");
            }
        }
        Ok(())
    }
}
