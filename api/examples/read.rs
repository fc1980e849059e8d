//! Reads documents and prints what evenkeel makes of them: `cargo run -p evenkeel-api --example read FILE`.

use evenkeel_api::text::{DocumentSpec, Origin, parse_documents_bytes};

fn main() -> std::io::Result<()> {
    for name in std::env::args().skip(1) {
        for document in parse_documents_bytes(&std::fs::read(&name)?, &Origin::file(&name)) {
            match document {
                Ok(document) => {
                    println!("{} (line {})", document.object, document.line);
                    document.warnings.iter().for_each(|warning| println!("  warning: {warning}"));
                    let spec = match &document.spec {
                        DocumentSpec::Service(spec) => serde_json::to_string_pretty(spec),
                        DocumentSpec::Network(spec) => serde_json::to_string_pretty(spec),
                        DocumentSpec::HealthCheck(spec) => serde_json::to_string_pretty(spec),
                        DocumentSpec::Host(spec) => serde_json::to_string_pretty(spec),
                    };
                    println!("{}", spec.map_err(std::io::Error::other)?);
                }
                Err(error) => println!("{error}"),
            }
        }
    }
    Ok(())
}
