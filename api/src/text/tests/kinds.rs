use super::*;

fn check(kind: &str, cases: &[(&str, Option<&str>)]) {
    for (spec, says) in cases {
        let found = problem(kind, spec);
        match says {
            None => assert_eq!(found, None, "{spec}"),
            Some(says) => {
                let found = found.unwrap_or_else(|| panic!("{spec} is taken"));
                assert!(found.contains(says), "{spec}\n  says  {found}\n  not   {says}");
            }
        }
    }
}

#[test]
fn networks() {
    check(
        "Network",
        &[
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}}", None),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}, {subnet: 10.90.0.0/16}], host_prefix_length: 22}, routing: host-gw}",
                None,
            ),
            (
                "{driver: bridge, internal: false, enable_ipv6: false, attachable: true, ipam: {driver: default, config: [{subnet: 10.88.0.0/16}]}}",
                None,
            ),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, dns: {domain: shop.lan, ttl: 2s}, access: {from: [10.0.0.7]}, x-a: 1}",
                None,
            ),
            ("{}", Some("`ipam` is missing")),
            ("{ipam: {config: []}}", Some("needs a pool of addresses")),
            ("{ipam: {config: [{subnet: 10.88.0.1/16}]}}", Some("did you mean 10.88.0.0/16?")),
            ("{ipam: {config: [{subnet: 'fd00::/8'}]}}", Some("IPv6 is not supported yet")),
            ("{ipam: {config: [{subnet: 10.88.0.0/25}]}}", Some("smaller than one host's part, a /24")),
            ("{ipam: {config: [{subnet: 10.0.0.0/4}]}}", Some("bits set after its prefix")),
            ("{ipam: {config: [{subnet: 0.0.0.0/4}]}}", Some("too large")),
            ("{ipam: {config: [{subnet: 127.0.0.0/16}]}}", Some("cannot be given to containers")),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}, {subnet: 10.88.4.0/22}]}}",
                Some("overlaps with 10.88.0.0/16"),
            ),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}], host_prefix_length: 30}}", Some("from 16 to 28")),
            ("{ipam: {config: [{subnet: 10.88.0.0/16, gateway: 10.88.0.1}]}}", Some("`gateway` is refused")),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, routing: vxlan}",
                Some("`routing: vxlan` is not supported yet"),
            ),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}, routing: hostgw}", Some("did you mean `host-gw`?")),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, driver: overlay}",
                Some("`driver: overlay` is refused"),
            ),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}, driver: macvlan}", Some("`driver` is refused")),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}, external: true}", Some("`external` is refused")),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, internal: true}",
                Some("`internal` is not supported yet"),
            ),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, enable_ipv6: true}",
                Some("`enable_ipv6` is not supported yet"),
            ),
            (
                "{ipam: {config: [{subnet: 10.88.0.0/16}]}, driver_opts: {a: b}}",
                Some("`driver_opts` is not supported yet"),
            ),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}, dns: {domain: a_b}}", Some("is no domain")),
            ("{ipam: {config: [{subnet: 10.88.0.0/16}]}, dns: {ttl: 2h}}", Some("1h at most")),
        ],
    );
    let text = "apiVersion: evenkeel/v1\nkind: Network\nmetadata: {name: lan}\nspec:\n  ipam: {config: [{subnet: 11.0.0.0/24}]}\n";
    let document = read(text).unwrap();
    assert_eq!(document.warnings.len(), 2);
    assert!(
        document.warnings[0].to_string().starts_with("line 5, column 20: 11.0.0.0/24 is no private range")
    );
}

#[test]
fn healthchecks() {
    check(
        "HealthCheck",
        &[
            (
                "{target: {service: web}, type: http, port: http, path: /healthz, header: {x-probe: '1'}}",
                None,
            ),
            ("{target: {service: web}, type: tcp, port: 5432, interval: 100ms}", None),
            ("{target: {service: web}, type: exec, command: [pg_isready], effects: {dns: false}}", None),
            ("{type: tcp, port: 1}", Some("`target` is missing")),
            ("{target: {service: web}}", Some("`type` is missing")),
            ("{target: {service: web}, type: http}", Some("needs a `port`")),
            ("{target: {service: web}, type: http, port: 0}", Some("0 is no port")),
            ("{target: {service: web}, type: exec}", Some("needs a `command`")),
            ("{target: {service: web}, type: exec, command: []}", Some("needs a `command`")),
            ("{target: {service: web}, type: exec, command: pg_isready}", Some("expected a list")),
            ("{target: {service: web}, type: exec, command: [a], port: 80}", Some("type exec has no `port`")),
            ("{target: {service: web}, type: tcp, port: 80, path: /}", Some("type tcp has no `path`")),
            ("{target: {service: web}, type: http, port: 80, path: healthz}", Some("begins with /")),
            ("{target: {service: web}, type: http, port: 80, method: get}", Some("like GET")),
            (
                "{target: {service: web}, type: http, port: 80, header: {a: \"b\\nc\"}}",
                Some("no header line"),
            ),
            ("{target: {service: web}, type: grpc, port: 80}", Some("`type: grpc` is not supported yet")),
            ("{target: {service: web}, type: script, command: [a]}", Some("write `type: exec`")),
            ("{target: {service: web}, type: tcp, port: 80, interval: 10ms}", Some("at least 100ms")),
            ("{target: {service: web}, type: tcp, port: 80, timeout: 48h}", Some("at most 24h")),
            ("{target: {service: web}, type: tcp, port: 80, retries: 0}", Some("counts from 1")),
            (
                "{target: {service: web}, type: tcp, port: 80, effects: {restart: {limit: 3, grace: 1m}}}",
                None,
            ),
            (
                "{target: {service: web}, type: tcp, port: 80, effects: {restart: {limit: 0}}}",
                Some("leave `restart` out for no restarts at all"),
            ),
            (
                "{target: {service: web}, type: tcp, port: 80, intervall: 3s}",
                Some("did you mean `interval`?"),
            ),
        ],
    );
}

#[test]
fn hosts() {
    check(
        "Host",
        &[
            ("{address: 10.0.0.13, availability: drain, reserved: {cpus: '0.5', memory: 512M}}", None),
            ("{}", Some("`address` is missing")),
            (
                "{address: h1}",
                Some("\"h1\" is no IPv4 address; write the host's own on the LAN, like 10.0.0.11"),
            ),
            ("{address: 127.0.0.1}", Some("cannot be reached by other hosts")),
            ("{address: 10.0.0.1, availability: drained}", Some("did you mean `drain`?")),
            ("{address: 10.0.0.1, labels: {a: b}}", Some("write `metadata.labels`")),
        ],
    );
}
