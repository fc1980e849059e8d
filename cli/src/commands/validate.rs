//! `evenkeel validate`: documents without a cluster.

use clap::Args;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::Namespace;
use evenkeel_api::text::DocumentSpec;
use evenkeel_plan::instance::policy::{HostPolicy, Leave, needed};

use crate::documents::{Files, FromFile};
use crate::failure::Failure;
use crate::output::{Format, say, structured};

/// What to validate.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel validate -f shop/
  evenkeel validate -f shop/ --policy >/etc/evenkeel/policy.d/shop.yaml  what hosts must allow them")]
pub struct Validate {
    #[command(flatten)]
    files: Files,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Print what the services need their hosts' leave for, as it stands in /etc/evenkeel/policy.d/NAME.yaml
    #[arg(long)]
    policy: bool,
}

impl Validate {
    /// Prints every document with its warnings.
    ///
    /// # Errors
    /// Some are bad; each is shown with its place.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        let found = self.files.read(self.namespace.as_ref())?;
        if self.policy {
            return print(&policy(&found), format);
        }
        for found in found {
            say!("{}: {} is valid", found.file, found.document.object);
            for warning in &found.document.warnings {
                say!("  warning: {warning}");
            }
        }
        Ok(())
    }
}

/// The least policy under which all of them may run.
fn policy(found: &[FromFile]) -> HostPolicy {
    let mut policy = HostPolicy::default();
    for FromFile { document, .. } in found {
        let (ObjectRef::Service(service), DocumentSpec::Service(spec)) = (&document.object, &document.spec)
        else {
            continue;
        };
        let leave = needed(&spec.template);
        if leave != Leave::default() {
            policy.namespaces.entry(service.namespace.to_string()).or_default().join(leave);
        }
    }
    policy
}

fn print(policy: &HostPolicy, format: Format) -> Result<(), Failure> {
    if policy.namespaces.is_empty() && format == Format::Table {
        say!("# these services need no leave of their hosts");
        return Ok(());
    }
    structured(if format == Format::Json { format } else { Format::Yaml }, policy)
}
