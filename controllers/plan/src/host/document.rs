//! The document that a host makes of itself at its first start.

use std::net::Ipv4Addr;

use evenkeel_api::name::HostName;

/// The text of `hosts/<h>`: YAML for people, who own it from then on.
pub fn document(host: &HostName, address: Ipv4Addr) -> String {
    format!(
        "\
# Made by this host's controller when it first joined the cluster. It is yours from now on: evenkeel
# reads it and never writes it again. What the machine has is found in its facts.
apiVersion: evenkeel/v1
kind: Host
metadata:
  name: {host}
  # labels: {{disk: ssd, rack: a}}       # for placement: node.labels.disk == ssd
spec:
  # Where the other hosts reach it.
  address: {address}
  # active: takes copies; pause: keeps those that it has; drain: its copies move elsewhere.
  availability: active
  # reserved: {{cpus: \"0.5\", memory: 512M}}   # kept back for the machine itself
"
    )
}
