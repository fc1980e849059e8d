//! `evenkeel validate`: documents without a cluster.

use clap::Args;
use evenkeel_api::name::Namespace;

use crate::documents::Files;
use crate::failure::Failure;
use crate::output::say;

/// What to validate.
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    files: Files,
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
        for found in self.files.read(self.namespace.as_ref())? {
            say!("{}: {} is valid", found.file, found.document.object);
            for warning in &found.document.warnings {
                say!("  warning: {warning}");
            }
        }
        Ok(())
    }
}
