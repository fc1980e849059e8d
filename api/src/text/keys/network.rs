//! The keys of a Network.

use super::{Row, honoured, ignored, not_yet, refused, silent};

pub(super) const ROWS: [Row; 28] = [
    honoured("ipam", ""),
    honoured("ipam.config", "at least one pool; more can be appended later, none changed"),
    honoured("ipam.config.*.subnet", "of private addresses, like 10.88.0.0/16"),
    honoured("ipam.host_prefix_length", "evenkeel's own: the size of a host's part; 24 when absent"),
    refused(
        "ipam.config.*.ip_range",
        "each host gets a part of the pool",
        "write the subnet that evenkeel may use",
    ),
    refused("ipam.config.*.gateway", "each host's part has its own, the first address", "leave it out"),
    refused("ipam.config.*.aux_addresses", "addresses are given out by evenkeel", "leave it out"),
    ignored("ipam.driver", "evenkeel gives the addresses out"),
    ignored("ipam.options", "evenkeel gives the addresses out"),
    honoured("routing", "evenkeel's own: `host-gw`, plain routes by the hosts' LAN addresses"),
    not_yet("routing", "put the hosts on one LAN, and write `host-gw`").with("vxlan"),
    not_yet("routing", "put the hosts on one LAN, and write `host-gw`").with("wireguard"),
    honoured("dns", ""),
    honoured("dns.domain", "evenkeel's own: below it services are found; `internal` when absent"),
    honoured("dns.ttl", "evenkeel's own: how long answers may be cached; 5s when absent"),
    honoured("access", ""),
    honoured("access.from", "evenkeel's own: outside addresses that may reach containers directly"),
    refused(
        "driver",
        "there is no overlay; hosts reach each other's containers by plain routes",
        "leave it out",
    )
    .with("overlay"),
    silent("driver", "that is what a Network is on each host").with("bridge"),
    refused("driver", "every Network is a bridge on each host, with routes between them", "leave it out"),
    not_yet("driver_opts", "leave it out"),
    not_yet("internal", "containers reach the outside; keep them from it at your router"),
    ignored("attachable", "what is started by hand may always join"),
    refused("external", "evenkeel makes the networks that it knows", "write the pool below `ipam`"),
    not_yet("enable_ipv6", "leave it out; there is IPv4 only"),
    ignored("enable_ipv4", "there is IPv4 only"),
    refused("name", "a Network has the name of its document", "write `metadata.name`"),
    refused("labels", "labels of a Network stand in its metadata", "write `metadata.labels`"),
];
