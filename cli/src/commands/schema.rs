//! `evenkeel schema`: the JSON Schema of the documents, for editors.

use clap::Args;
use evenkeel_api::text;

use crate::failure::Failure;
use crate::output::{Format, structured};
use crate::words;

/// Of which kind.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel schema >evenkeel.schema.json  of all kinds, to put beside the documents
  evenkeel schema service -o yaml")]
pub struct Schema {
    /// service, network, healthcheck or host; all when absent
    kind: Option<String>,
}

impl Schema {
    /// Prints it, as JSON unless YAML is asked for.
    ///
    /// # Errors
    /// No kind is called that.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        let schema = match &self.kind {
            Some(word) => text::schema(words::kind(word)?),
            None => text::schema_of_all(),
        };
        structured(if format == Format::Table { Format::Json } else { format }, &schema)
    }
}
