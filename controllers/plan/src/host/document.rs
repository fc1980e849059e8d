//! The document that a host makes of itself at its first start.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::name::HostName;
use evenkeel_api::text::quote::quote;

/// The text of `hosts/<h>`: YAML for people, who own it from then on.
pub fn document(host: &HostName, address: Ipv4Addr, labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{}: {}", quote(key), quote(value))).collect();
    let labels = if pairs.is_empty() {
        "# labels: {disk: ssd, rack: a}       # for placement: node.labels.disk == ssd".to_owned()
    } else {
        format!("labels: {{{}}}", pairs.join(", "))
    };
    format!(
        "\
# Made when this host first joined the cluster. It is yours from now on: evenkeel
# reads it and never writes it again. What the machine has is found in its facts.
apiVersion: evenkeel/v1
kind: Host
metadata:
  name: {host}
  {labels}
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
        let read = parse_document(&document(&host, address, &BTreeMap::new()), &origin).unwrap();
        assert_eq!(read.object, ObjectRef::Host(host));
        let DocumentSpec::Host(spec) = read.spec else { panic!("{read:?}") };
        assert_eq!(spec.address, address);
    }

    #[test]
    fn labels_stand_in_it_as_they_were_said() {
        let host: HostName = "h1".parse().unwrap();
        let labels = [("disk", "ssd"), ("on", "yes")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let text = document(&host, [10, 0, 0, 11].into(), &labels.clone().into());
        let read = parse_document(&text, &Origin::Key(ObjectRef::Host(host))).unwrap();
        assert_eq!(read.metadata.labels, labels.into());
    }
}
