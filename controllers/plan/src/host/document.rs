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

#[cfg(test)]
mod tests {
    use evenkeel_api::meta::ObjectRef;
    use evenkeel_api::text::{DocumentSpec, Origin, parse_document};

    use super::*;

    #[test]
    fn the_document_is_a_valid_one_and_says_the_name_and_the_address() {
        let (host, address): (HostName, Ipv4Addr) = ("h1".parse().unwrap(), [10, 0, 0, 11].into());
        let origin = Origin::Key(ObjectRef::Host(host.clone()));
        let read = parse_document(&document(&host, address), &origin).unwrap();
        assert_eq!(read.object, ObjectRef::Host(host));
        let DocumentSpec::Host(spec) = read.spec else { panic!("{read:?}") };
        assert_eq!(spec.address, address);
    }
}
