//! Every form of every key, one by one: what is written for it, and what is told.

mod common;

use common::{Memory, report, run};

/// A service `web` with these lines, beside what the lines may need.
fn import(body: &str) -> (String, String) {
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let image = if body.contains("image:") || body.contains("build:") { "" } else { "    image: web:1\n" };
    let restart = if body.contains("restart") { "" } else { "    restart: always\n" };
    let text = format!(
        "services:\n  web:\n{image}{restart}{body}  db: {{image: 'db:1', restart: always}}\n  other_one: {{image: 'db:1', restart: always}}\n  sleeping: {{image: a, profiles: [p]}}\nnetworks:\n  front: {{ipam: {{config: [{{subnet: 10.9.0.0/16}}]}}}}\n  outer: {{external: true}}\nvolumes:\n  data:\n  my_data:\n"
    );
    let world =
        Memory::with(&[("compose.yaml", &text), ("a.env", "A=1\nB=${C:-2}\n"), ("raw.env", "A='$x' #\n")])
            .and("HOME", "/home/me")
            .and("SET", "value");
    let imported = run(&world, &["compose.yaml"], &[]);
    let web = imported.objects.iter().find(|object| object.name == "Service shop/web").expect("it is there");
    let told: String = report(&imported)
        .lines()
        .filter(|line| line.contains("services.web"))
        .map(|l| format!("{l}\n"))
        .collect();
    (web.text.clone(), told)
}

/// Body, what the document has in this order, what the report has. Without the last nothing is told.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

fn hold(cases: &[Case]) {
    for (body, written, told) in cases {
        let (document, report) = import(body);
        let mut rest = document.as_str();
        for line in *written {
            let at =
                rest.find(line).unwrap_or_else(|| panic!("{body}: no {line:?} in\n{document}\n{report}"));
            rest = &rest[at + line.len()..];
        }
        for said in *told {
            assert!(report.contains(said), "{body}: nobody said {said:?}:\n{report}");
        }
        assert!(!told.is_empty() || report.is_empty(), "{body}: {report}");
    }
}

#[test]
fn volumes() {
    hold(&[
        ("volumes: ['data:/d', '/cache']", &["- data:/d", "- /cache"], &[]),
        ("volumes: ['my_data:/d:ro']", &["- my-data:/d:ro"], &[]),
        (
            "volumes: ['/srv/x:/x:z,ro']",
            &["- /srv/x:/x:z,ro"],
            &["changed: services.web.volumes.0: /srv/x must be", "have host path /srv/x (read-only):"],
        ),
        (
            "volumes: ['./x:/x:cached']",
            &["- /srv/shop/x:/x:cached"],
            &["decide: services.web.volumes.0: ./x lies"],
        ),
        ("volumes: ['../x:/x']", &["- /srv/x:/x"], &["decide"]),
        ("volumes: ['.:/x']", &["- /srv/shop:/x"], &["decide"]),
        (
            "volumes: ['~/.ssh:/ssh']",
            &["- /home/me/.ssh:/ssh"],
            &["decide: services.web.volumes.0: ~/.ssh lies"],
        ),
        (
            "volumes: ['data:/d:rwz']",
            &["- data:/d\n"],
            &["decide: services.web.volumes.0: Compose overlooks `rwz`"],
        ),
        (
            "volumes: ['ghost:/d']",
            &["#     - ghost:/d"],
            &["refused: services.web.volumes.0: there is no volume `ghost`"],
        ),
        ("volumes: ['${NOPE}:/d']", &["# "], &["refused: services.web.volumes.0: NOPE is not set"]),
        ("volumes: ['${NOPE:-data}:/d']", &["- data:/d"], &[]),
        (
            "volumes: [{type: bind, source: ./x, target: /x, read_only: true, bind: {create_host_path: true}}]",
            &["type: bind", "source: /srv/shop/x", "create_host_path: true"],
            &["decide: services.web.volumes.0.source"],
        ),
        ("volumes: [{type: volume, source: my_data, target: /d}]", &["source: my-data"], &[]),
        ("volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]", &["type: tmpfs", "size: 1m"], &[]),
        (
            "volumes: [{type: cluster, source: x, target: /x}]",
            &["# "],
            &["refused: services.web.volumes.0.type"],
        ),
        ("volumes: ['data:/d', 'my_data:/d/']", &["- my-data:/d/"], &[]),
        ("tmpfs: '/run:rw,noexec,size=64m'", &["tmpfs: /run:rw,noexec,size=64m"], &[]),
    ]);
}

#[test]
fn environment() {
    hold(&[
        ("environment: [A=1, 'B=x=y', C=]", &["A: \"1\"", "B: x=y", "C: \"\""], &[]),
        ("environment: {A: 4, B: 1.50, C: true, D: no}", &["A: 4", "B: 1.50", "C: true", "D: \"no\""], &[]),
        ("environment: [SET]", &["SET: value"], &["changed: services.web.environment.SET"]),
        ("environment: {SET: }", &["SET: value"], &["written into the document"]),
        ("environment: [NOPE]", &["image"], &["decide: services.web.environment.NOPE: NOPE has no value"]),
        (
            "environment: {A: '$SET', B: '${NOPE}'}",
            &["A: value", "B: \"\""],
            &["decide: services.web.environment.B"],
        ),
        ("environment: {A: 0o17, B: 010}", &["A: \"0o17\"", "B: 010"], &["Compose reads 8"]),
        ("environment: {A: '{{.Task.Slot}}'}", &["A:"], &["decide: services.web.environment.A: templates"]),
        (
            "environment: {P: 'tcp://tasks.db:1'}",
            &["P:"],
            &["decide: services.web.environment.P: tasks.db is Swarm's"],
        ),
        (
            "environment: {RESOLVER: '127.0.0.11', OTHER: '127.0.0.110 1127.0.0.11'}",
            &["RESOLVER: 127.0.0.11"],
            &["decide: services.web.environment.RESOLVER: 127.0.0.11 is the engine's own name server"],
        ),
        ("environment: {OTHER: '127.0.0.110 1127.0.0.11'}", &["OTHER"], &[]),
        (
            "env_file: a.env",
            &["A: \"1\"", "B: \"2\""],
            &["changed: services.web.env_file.0: what a.env says"],
        ),
        ("env_file: [{path: raw.env, format: raw}]", &["A: \"'$$x' #\""], &["changed"]),
        (
            "env_file: [{path: no.env, required: false}]",
            &["image"],
            &["no.env is not there, and need not be"],
        ),
        ("env_file: no.env", &["# "], &["refused: services.web.env_file.0: no.env cannot be read"]),
        ("env_file: a.env\nenvironment: {A: own}", &["A: own", "B: \"2\""], &["changed"]),
        ("label_file: a.env\nlabels: [A=own]", &["labels:", "A: own"], &["changed"]),
        ("labels: {a: 1, b: }", &["a: 1", "b:"], &[]),
    ]);
}

#[test]
fn ports() {
    hold(&[
        (
            "ports: ['80:80', 3000, '9090-9091:8080-8081', '53:53/udp']",
            &["- \"80:80\"", "- 3000", "53:53/udp"],
            &[],
        ),
        ("ports: ['127.0.0.1:8001:8001']", &["127.0.0.1:8001:8001"], &[]),
        ("ports: ['${BIND:-127.0.0.1:13306}:3306']", &["127.0.0.1:13306:3306"], &[]),
        ("ports: ['${NOPE}:80']", &["# "], &["refused: services.web.ports.0: NOPE is not set"]),
        (
            "ports: [{name: http, target: 80, published: '8080', host_ip: 10.0.0.7, protocol: tcp, app_protocol: http, mode: host}]",
            &["name: http", "published: \"8080\"", "host_ip: 10.0.0.7", "mode: host"],
            &[],
        ),
        (
            "ports: [{target: 80, published: 80, mode: ingress}]",
            &["target: 80"],
            &["decide: services.web.ports.0.mode"],
        ),
        ("ports: ['[::1]:80:80']", &["# "], &["IPv6 is not supported yet"]),
        ("expose: [80, '81']", &["image"], &[]),
    ]);
}

#[test]
fn waiting() {
    hold(&[
        ("depends_on: [db, other_one]", &["- db", "- other-one"], &[]),
        (
            "depends_on: {db: {condition: service_healthy, required: false}}",
            &["condition: service_healthy"],
            &[],
        ),
        (
            "depends_on: {db: {condition: service_started, restart: true}}",
            &["service_started"],
            &["depends_on.db.restart"],
        ),
        ("depends_on: [sleeping]", &["image"], &["decide: services.web.depends_on.sleeping"]),
        (
            "depends_on: {sleeping: {required: false, condition: service_started}}",
            &["image"],
            &["need not be there"],
        ),
        ("depends_on: [ghost]", &["# "], &["refused: services.web.depends_on.ghost: there is no service"]),
        ("restart: unless-stopped", &["restart: unless-stopped"], &[]),
        ("restart: 'no'", &["restart: \"no\""], &[]),
        ("restart: on-failure:3", &["restart: on-failure:3"], &[]),
        (
            "restart: ${NOPE}",
            &["image"],
            &["decide: services.web.restart: NOPE is not set", "there is no `restart`"],
        ),
        (
            "deploy: {restart_policy: {condition: any}}\nrestart: always",
            &["condition: any"],
            &["changed: services.web.restart"],
        ),
    ]);
}

#[test]
fn networks() {
    hold(&[
        ("networks: [front]", &["- shop-front"], &[]),
        ("networks: {front: }", &["- shop-front"], &[]),
        (
            "networks: {front: {aliases: [www, web]}, outer: {priority: 1}}",
            &["shop-front:", "- www\n", "outer:"],
            &[],
        ),
        (
            "networks: {front: {aliases: [my_web]}}",
            &["- my-web"],
            &["decide: services.web.networks.front.aliases"],
        ),
        (
            "networks: {front: {ipv4_address: 10.9.0.7}}",
            &["- shop-front"],
            &["decide: services.web.networks.front.ipv4_address"],
        ),
        ("networks: [default, front]", &["- default", "- shop-front"], &[]),
        ("networks: [ghost]", &["# "], &["refused: services.web.networks.ghost: there is no network"]),
        (
            "network_mode: host\nports: ['80:80']",
            &["network_mode: host"],
            &["changed: services.web.ports: left out"],
        ),
        ("network_mode: none", &["network_mode: none"], &[]),
        ("network_mode: bridge", &["image"], &["changed: services.web.network_mode"]),
        (
            "network_mode: service:db",
            &["#   network_mode: service:db"],
            &["refused: services.web.network_mode"],
        ),
        ("pid: service:db", &["#   pid: service:db"], &["refused: services.web.pid"]),
        ("pid: host", &["pid: host"], &["have the host's pid namespace:"]),
        ("links: [db]", &["image"], &["changed: services.web.links"]),
        (
            "links: ['db:database']",
            &["image"],
            &["decide: services.web.links: left out: db is not found as database"],
        ),
        ("external_links: [x]", &["image"], &["decide: services.web.external_links"]),
        (
            "extra_hosts: ['a:10.0.0.1', 'host.docker.internal:host-gateway']",
            &["10.0.0.1", "host-gateway"],
            &[],
        ),
        ("dns: 10.0.0.1", &["dns: 10.0.0.1"], &["decide: services.web.dns: `dns` replaces"]),
        ("dns_search: ''", &["dns_search: \"\""], &[]),
        ("hostname: '{{.Node.Hostname}}'", &["image"], &["decide: services.web.hostname"]),
        (
            "hostname: h\ncontainer_name: my.app",
            &["hostname: h", "container_name: my-app"],
            &["decide: services.web.container_name"],
        ),
        ("container_name: web", &["image"], &[]),
        (
            "container_name: x\ndeploy: {replicas: 2}",
            &["container_name: x"],
            &["decide: services.web.container_name"],
        ),
    ]);
}

#[test]
fn deploying() {
    hold(&[
        ("deploy: {mode: global}", &["mode: global"], &[]),
        ("deploy: {replicas: '${N:-0}'}", &["replicas: \"0\""], &[]),
        ("scale: 2", &["scale: 2"], &[]),
        ("deploy: {mode: replicated-job}", &["# "], &["refused: services.web.deploy.mode"]),
        (
            "deploy: {endpoint_mode: vip, replicas: 1}",
            &["replicas: 1"],
            &["changed: services.web.deploy.endpoint_mode"],
        ),
        (
            "deploy: {placement: {constraints: ['node.role == manager']}}",
            &["node.labels.role == manager"],
            &["decide"],
        ),
        (
            "deploy: {placement: {constraints: ['node.id == x']}}",
            &["# "],
            &["refused: services.web.deploy.placement"],
        ),
        ("deploy: {placement: {constraints: ['node.labels.ssd==true']}}", &["- node.labels.ssd==true"], &[]),
        (
            "deploy: {resources: {limits: {cpus: '0.70', memory: 512M}}}",
            &["cpus: \"0.70\"", "memory: 512M"],
            &[],
        ),
        (
            "deploy: {resources: {limits: {cpus: 0.5}, reservations: {memory: 1g}}}",
            &["cpus: 0.5", "memory: 1g"],
            &[],
        ),
        (
            "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}}",
            &["gpus: all"],
            &["decide: services.web.deploy.resources.reservations.devices"],
        ),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [tpu]}]}}}",
            &["# "],
            &["refused: services.web.deploy.resources.reservations.devices"],
        ),
        (
            "deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: a, value: 1}}]}}}",
            &["# "],
            &["refused"],
        ),
        ("gpus: [{count: 2}]", &["gpus: \"2\""], &["have device gpus:"]),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2G}}}", &["# "], &["two words for one thing"]),
        ("pids_limit: 100\nmem_limit: 256mb", &["pids_limit: 100", "mem_limit: 256mb"], &[]),
    ]);
}

/// What a host allows only if its policy says so is told: the copies would wait for it.
#[test]
fn leave_of_the_hosts() {
    const TOLD: &str = "decide: services.web: no host runs it before its policy lets namespace shop have";
    hold(&[
        (
            "privileged: true",
            &["# decide: services.web: no host", "privileged: true"],
            &[TOLD, "have privileged:"],
        ),
        ("network_mode: host", &["network_mode: host"], &[TOLD, "have the host's network namespace:"]),
        ("pid: host", &["pid: host"], &[TOLD]),
        ("cap_add: [net_admin, chown]", &["- net_admin"], &[TOLD, "have capability NET_ADMIN:"]),
        ("cap_add: [chown]\ncap_drop: [all]", &["- chown"], &[]),
        ("security_opt: ['seccomp=unconfined']", &["- seccomp=unconfined"], &[TOLD]),
        (
            "volumes: ['/var/run/docker.sock:/s', './x:/x']",
            &["docker.sock"],
            &[
                TOLD,
                "have the engine's socket by /var/run/docker.sock, host path /srv/shop/x:",
                "policy.d/shop.yaml",
            ],
        ),
        // What is refused for something else tells it, too.
        ("privileged: true\nsecrets: [a]", &["# decide: services.web: no host"], &[TOLD, "secrets"]),
    ]);
}

#[test]
fn the_rest() {
    hold(&[
        ("image: ''", &["#   image: IMAGE"], &["refused: services.web.image: there is no `image`"]),
        (
            "build: .",
            &["#   image: IMAGE"],
            &["refused: services.web.build: there is no `image`, only `build`"],
        ),
        ("build: {context: .}\nimage: a", &["image: a"], &["changed: services.web.build: left out"]),
        ("image: 'a:${NOPE}'", &["# "], &["refused: services.web.image: NOPE is not set"]),
        ("image: 'a:${NOPE:?give one}'", &["# "], &["the variable NOPE is missing: give one"]),
        ("command: sh -c 'a && b'", &["command: \"sh -c 'a && b'\""], &[]),
        ("command: [a, '$$HOME', 3]", &["- a", "- \"$$HOME\"", "- 3"], &[]),
        ("command: |\n  one\n  two", &["command: |\n", "one\n", "two\n"], &[]),
        ("entrypoint: []", &["entrypoint: []"], &[]),
        (
            "healthcheck: {test: curl -f x, interval: 5s, retries: '${N:-3}'}",
            &["test: curl -f x", "retries: \"3\""],
            &[],
        ),
        (
            "healthcheck: {test: [CMD-SHELL, 'a || b'], disable: false}",
            &["- CMD-SHELL", "disable: false"],
            &[],
        ),
        ("healthcheck: {disable: true, test: a}", &["disable: true\n"], &[]),
        (
            "secrets: [a]",
            &["#   secrets:"],
            &["refused: services.web.secrets: `secrets` is not supported yet"],
        ),
        ("configs: [{source: a, target: /a}]", &["#   configs:"], &["refused: services.web.configs"]),
        (
            "ulimits: {nproc: 65535, nofile: {soft: 1, hard: 2}, memlock: -1}",
            &["nproc: 65535", "soft: 1", "memlock: -1"],
            &[],
        ),
        (
            "read_only: ${RO:-true}\ncap_add: [net_admin]\ncap_drop: [all]",
            &["read_only: \"true\"", "- net_admin", "- all"],
            &["have capability NET_ADMIN:"],
        ),
        (
            "user: 1000\nworking_dir: /w\ninit: true\ntty: true\nstdin_open: true",
            &["user: 1000", "init: true"],
            &[],
        ),
        (
            "security_opt: ['no-new-privileges:true', 'label:disable']",
            &["- no-new-privileges:true"],
            &["security_opt label=disable"],
        ),
        ("security_opt: ['seccomp:x.json']", &["# "], &["refused: services.web.security_opt.0"]),
        (
            "logging: {driver: json-file, options: {max-file: 3, max-size: 10m}}",
            &["max-file: 3", "max-size: 10m"],
            &[],
        ),
        (
            "shm_size: 128mb\nsysctls: [net.core.somaxconn=1024]",
            &["shm_size: 128mb", "net.core.somaxconn: \"1024\""],
            &[],
        ),
        (
            "privileged: true\nstop_grace_period: 30s\nstop_signal: SIGINT",
            &["privileged: true", "30s", "SIGINT"],
            &["have privileged:"],
        ),
        (
            "devices: ['/dev/a:/dev/b']",
            &["- /dev/a:/dev/b"],
            &["decide: services.web.devices: `devices` without"],
        ),
        ("platform: '${NOPE:-}'", &["image"], &[]),
        ("platform: linux/amd64\npull_policy: never", &["platform: linux/amd64", "pull_policy: never"], &[]),
        ("pull_policy: build\nimage: a", &["image: a"], &["changed: services.web.pull_policy"]),
        ("attach: false\ndevelop: {watch: []}\nprofiles: []\nx-mine: 1", &["image"], &[]),
        ("post_start: [{command: a}]", &["# "], &["refused: services.web.post_start"]),
        (
            "volumes_from: [db]\ncgroup_parent: x",
            &["# "],
            &["services.web.volumes_from", "services.web.cgroup_parent"],
        ),
        ("mac_address: 02:42:ac:11:65:43", &["# "], &["refused: services.web.mac_address"]),
        ("replicas: 2", &["# "], &["refused: services.web.replicas: unknown key `replicas`"]),
    ]);
}
