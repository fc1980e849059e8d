//! What is wrong with machines and with the cluster: what was found there ([`facts`]) goes in, findings
//! ([`Finding`]) come out, each with what mends it. Nothing here reads a disk or a network.

pub mod certificate;
mod cluster;
pub mod facts;
mod finding;
mod fleet;
mod machine;
mod version;

pub use cluster::cluster;
pub use finding::{Finding, Severity};
pub use fleet::fleet;
pub use machine::machine;

use facts::Found;

/// All that can be said of what was found, worst first.
pub fn judge(found: &Found) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(asked) = &found.cluster {
        findings.extend(cluster(asked, &found.machines));
    }
    for (host, asked) in &found.machines {
        findings.extend(machine(host, asked));
    }
    findings.extend(fleet(&found.machines));
    findings.sort_by_key(|finding| finding.severity);
    findings
}
