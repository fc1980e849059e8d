use serde_json::json;

use super::*;

/// Each form on a line: what is written, where it lands, and as what.
macro_rules! forms {
    ($($body:literal => $pointer:literal $value:tt;)*) => {
        #[test]
        fn forms() {
            $(
                let spec = service($body).unwrap_or_else(|problem| panic!("{}: {problem}", $body));
                let spec = serde_json::to_value(&spec).unwrap();
                assert_eq!(spec.pointer($pointer).cloned().unwrap_or_default(), json!($value), "{}\n{spec:#}", $body);
            )*
        }
    };
}

forms! {
    // Words.
    "command: sh -c 'echo $$HOME && x'" => "/template/command" ["sh", "-c", "echo $HOME && x"];
    "command: [echo, 1, true, 1.10]" => "/template/command" ["echo", "1", "true", "1.10"];
    "command: []" => "/template/command" [];
    "command:" => "/template/command" null;
    "entrypoint: ''" => "/template/entrypoint" [];
    "command: |\n  a \\\n    b" => "/template/command" ["a", "b"];
    // Pairs.
    "environment: {A: 1, B: true, C: 1.10, D: '', E: 012, F: yes}"
        => "/template/environment" {"A": "1", "B": "true", "C": "1.10", "D": "", "E": "012", "F": "yes"};
    "environment: [A=b=c, 'D=', 'E=$$x']" => "/template/environment" {"A": "b=c", "D": "", "E": "$x"};
    "environment: {x-a: 1}" => "/template/environment" {"x-a": "1"};
    "labels: [a, b=c]" => "/template/labels" {"a": "", "b": "c"};
    "labels: {a: , b: 5}" => "/template/labels" {"a": "", "b": "5"};
    "sysctls: [net.core.somaxconn=1024]" => "/template/sysctls" {"net.core.somaxconn": "1024"};
    "annotations: {a: b}" => "/template/annotations" {"a": "b"};
    "storage_opt: {size: 1}" => "/template/storage_opt" {"size": "1"};
    // Ports.
    "ports: ['80:8080']" => "/template/ports" [{"target": 8080, "protocol": "tcp", "published": {"port": 80}}];
    "ports: [8080]" => "/template/ports" [{"target": 8080, "protocol": "tcp", "published": {}}];
    "ports: ['53:53/udp']" => "/template/ports/0/protocol" "udp";
    "ports: ['127.0.0.1:80:8080']" => "/template/ports/0/published" {"port": 80, "host_ip": "127.0.0.1"};
    "ports: ['127.0.0.1::8080']" => "/template/ports/0/published" {"host_ip": "127.0.0.1"};
    "ports: ['10.0.0.0/24:80:8080/udp']" => "/template/ports/0/published" {"port": 80, "host_ip": "10.0.0.0/24"};
    "ports: ['10.0.0.0/24:80:8080']" => "/template/ports/0/target" 8080;
    "ports: ['0.0.0.0:80:8080']" => "/template/ports/0/published" {"port": 80};
    "ports: ['9090-9091:8080-8081']" => "/template/ports" [
        {"target": 8080, "protocol": "tcp", "published": {"port": 9090}},
        {"target": 8081, "protocol": "tcp", "published": {"port": 9091}}];
    "ports: ['8080-8081']" => "/template/ports/1" {"target": 8081, "protocol": "tcp", "published": {}};
    "ports: [{target: 80}]" => "/template/ports" [{"target": 80, "protocol": "tcp"}];
    "ports: [{target: 80, published: '8080', protocol: udp, name: dns, app_protocol: dns, mode: host, x-a: 1}]"
        => "/template/ports" [{"name": "dns", "target": 80, "protocol": "udp", "published": {"port": 8080}}];
    "ports: [{target: '80', published: 0}]" => "/template/ports/0/published" {};
    "ports: [{target: 80, published: 80, host_ip: 10.0.0.0/24}]" => "/template/ports/0/published/host_ip" "10.0.0.0/24";
    "ports: ['127.0.0.1:80:80', '10.0.0.1:80:80']" => "/template/ports/1/published/host_ip" "10.0.0.1";
    "ports: ['80:80', '80:80/udp']" => "/template/ports/1/protocol" "udp";
    // Mounts.
    "volumes: ['data:/data']" => "/template/mounts" [{"target": "/data", "source": {"type": "volume", "name": "data"}}];
    "volumes: ['data:/data/:ro,nocopy']"
        => "/template/mounts" [{"target": "/data", "source": {"type": "volume", "name": "data", "nocopy": true}, "read_only": true}];
    "volumes: ['/srv:/data:ro,z,rslave']" => "/template/mounts" [
        {"target": "/data", "source": {"type": "bind", "path": "/srv", "propagation": "rslave", "selinux": "z"}, "read_only": true}];
    "volumes: ['/srv:/data:cached']" => "/template/mounts" [{"target": "/data", "source": {"type": "bind", "path": "/srv"}}];
    "volumes: [/data]" => "/template/mounts" [{"target": "/data", "source": {"type": "anonymous"}}];
    "volumes: [{type: volume, source: data, target: /data, read_only: true, volume: {nocopy: true, labels: {a: b}}}]"
        => "/template/mounts/0/source/nocopy" true;
    "volumes: [{type: volume, target: /data}]" => "/template/mounts/0/source" {"type": "anonymous"};
    "volumes: [{type: bind, source: /srv, target: /data, consistency: cached, bind: {create_host_path: true, selinux: Z}}]"
        => "/template/mounts/0/source" {"type": "bind", "path": "/srv", "create_host_path": true, "selinux": "Z"};
    "volumes: [{type: tmpfs, target: /run, tmpfs: {size: 64m, mode: 0755}}]"
        => "/template/mounts/0/source" {"type": "tmpfs", "size": "64M", "mode": 493};
    "tmpfs: /run" => "/template/mounts" [{"target": "/run", "source": {"type": "tmpfs"}}];
    "tmpfs: ['/run:rw,noexec,nosuid,size=65536k,mode=1777']" => "/template/mounts" [
        {"target": "/run", "source": {"type": "tmpfs", "size": "64M", "mode": 1023, "options": "noexec,nosuid"}}];
    // The engine's check.
    "healthcheck: {test: curl -f x, interval: 1m30s}"
        => "/template/healthcheck" {"test": ["CMD-SHELL", "curl -f x"], "interval": "1m30s"};
    "healthcheck: {test: [CMD, a, 1], retries: '3'}" => "/template/healthcheck" {"test": ["CMD", "a", "1"], "retries": 3};
    "healthcheck: {disable: true}" => "/template/healthcheck" {"test": ["NONE"]};
    "healthcheck: {disable: false, start_period: 5s}" => "/template/healthcheck" {"test": [], "start_period": "5s"};
    // Networks and names.
    "networks: [lan, b]" => "/template/networks" {"lan": {}, "b": {}};
    "networks: {lan: , b: {aliases: [www], priority: 3}}" => "/template/networks" {"lan": {}, "b": {"aliases": ["www"]}};
    "network_mode: host" => "/template/network_mode" "host";
    "container_name: ollama" => "/template/container_name" "ollama";
    "hostname: a.B-c" => "/template/hostname" "a.B-c";
    "dns: 10.0.0.1" => "/template/dns" ["10.0.0.1"];
    "dns_search: ''" => "/template/dns_search" [];
    "dns_search: [a.b, c]" => "/template/dns_search" ["a.b", "c"];
    "extra_hosts: ['a:10.0.0.1', 'b=host-gateway', 'c:[::1]']"
        => "/template/extra_hosts" ["a:10.0.0.1", "b:host-gateway", "c:::1"];
    "extra_hosts: {a: 10.0.0.1, b: [10.0.0.2, 10.0.0.3]}"
        => "/template/extra_hosts" ["a:10.0.0.1", "b:10.0.0.2", "b:10.0.0.3"];
    // Depends.
    "depends_on: [a]" => "/depends_on" {"a": {"condition": "service_started", "required": true}};
    "depends_on: {a: {condition: service_healthy, required: false, restart: true}, b: }" => "/depends_on" {
        "a": {"condition": "service_healthy", "required": false},
        "b": {"condition": "service_started", "required": true}};
    // Rights and limits.
    "user: 1000" => "/template/user" "1000";
    "user: '0:0'" => "/template/user" "0:0";
    "group_add: [video, 44]" => "/template/group_add" ["video", "44"];
    "cap_add: [net_admin, CAP_SYS_TIME, ALL]" => "/template/cap_add" ["NET_ADMIN", "SYS_TIME", "ALL"];
    "devices: [/dev/a, '/dev/b:/dev/c:r', '/dev/d:rw', {source: /dev/e, target: /dev/f}]" => "/template/devices" [
        {"source": "/dev/a", "target": "/dev/a", "permissions": "rwm"},
        {"source": "/dev/b", "target": "/dev/c", "permissions": "r"},
        {"source": "/dev/d", "target": "/dev/d", "permissions": "rw"},
        {"source": "/dev/e", "target": "/dev/f", "permissions": "rwm"}];
    "gpus: all" => "/template/gpus" (-1);
    "gpus: 2" => "/template/gpus" 2;
    "security_opt: ['no-new-privileges:true', 'label:disable', 'seccomp:unconfined']"
        => "/template/security_opt" ["no-new-privileges:true", "label=disable", "seccomp=unconfined"];
    "ulimits: {nofile: 1024, memlock: {soft: -1, hard: -1}}"
        => "/template/ulimits" {"nofile": {"soft": 1024, "hard": 1024}, "memlock": {"soft": -1, "hard": -1}};
    "shm_size: 128mb" => "/template/shm_size" "128M";
    "read_only: 'true'" => "/template/read_only" true;
    "pid: host" => "/template/pid" "host";
    "ipc: shareable" => "/template/ipc" "shareable";
    "cpuset: 0-2,4" => "/template/cpuset" "0-2,4";
    "oom_score_adj: -500" => "/template/oom_score_adj" (-500);
    "stop_signal: SIGUSR1" => "/template/stop_signal" "SIGUSR1";
    "stop_grace_period: 1m30s" => "/template/stop_grace_period" "1m30s";
    "logging: {driver: json-file, options: {max-file: 3, max-size: 10m}}"
        => "/template/logging" {"driver": "json-file", "options": {"max-file": "3", "max-size": "10m"}};
    "pull_policy: if_not_present" => "/template/pull_policy" "missing";
    "platform: linux/arm64/v8" => "/template/platform" "linux/arm64/v8";
    "platform: ''" => "/template/platform" null;
    // Twins.
    "mem_limit: 512M" => "/limits" {"memory": "512M"};
    "mem_limit: 536870912\ndeploy: {resources: {limits: {memory: 512M}}}" => "/limits" {"memory": "512M"};
    "cpus: 0.5" => "/limits" {"cpus": "0.5"};
    "cpus: '.5'" => "/limits" {"cpus": "0.5"};
    "pids_limit: -1" => "/limits" {"pids": -1};
    "mem_reservation: 256M" => "/deploy/reservations" {"memory": "256M"};
    "mem_reservation: 256M" => "/limits" {"memory_reservation": "256M"};
    "memswap_limit: 1G\nmem_limit: 512M" => "/limits" {"memory": "512M", "memory_swap": 1_073_741_824};
    "memswap_limit: -1\nmem_limit: 512M" => "/limits/memory_swap" (-1);
    "scale: 3" => "/deploy/replicas" 3;
    "deploy: {replicas: '0'}" => "/deploy/replicas" 0;
    // Restart.
    "restart: always" => "/deploy/restart_policy" {"condition": "any"};
    "restart: no" => "/deploy/restart_policy" {"condition": "none"};
    "restart: on-failure:3" => "/deploy/restart_policy" {"condition": "on-failure", "max_attempts": 3};
    // Deploy.
    "deploy: {mode: global}" => "/deploy/mode" "global";
    "deploy: {endpoint_mode: dnsrr}" => "/deploy" {};
    "deploy: {labels: [a=b]}" => "/deploy/labels" {"a": "b"};
    "deploy: {placement: {constraints: ['node.labels.disk==ssd', node.hostname != h3, ' node.platform.arch  ==  x86_64 ']}}"
        => "/deploy/placement/constraints" [
        {"attribute": {"label": "disk"}, "equal": true, "value": "ssd"},
        {"attribute": "hostname", "equal": false, "value": "h3"},
        {"attribute": "arch", "equal": true, "value": "x86_64"}];
    "deploy: {placement: {preferences: [{spread: node.labels.rack}], max_replicas_per_node: 2}}"
        => "/deploy/placement" {"spread": ["rack"], "max_replicas_per_node": 2};
    "deploy: {resources: {reservations: {cpus: '0.25', memory: 1g}}}"
        => "/deploy/reservations" {"cpus": "0.25", "memory": "1G"};
    "deploy: {update_config: {order: start-first, max_failure_ratio: '0.1', parallelism: 0}}"
        => "/deploy/update_config" {"order": "start-first", "max_failure_ratio": 0.1, "parallelism": 0};
    "endpoints_policy: empty" => "/endpoints_policy" "empty";
    // What is ignored leaves nothing, and what asks for nothing is not refused.
    "build: .\nexpose: [80]\nattach: false\ndevelop: {watch: []}" => "/deploy" {};
    "secrets: []\nlinks:\nuse_api_socket: false" => "/deploy" {};
    "x-anything: {goes: here}\ndeploy: {x-more: 1}" => "/deploy" {};
}

#[test]
fn anchors_and_merges_work_within_a_document() {
    let text = "x-base: &base\n  restart: always\n  environment: &env {A: 1}\n";
    let rest = "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec:\n  <<: *base\n  image: a\n  environment:\n    <<: [*env]\n    B: 2\n";
    let Ok(Document { spec: DocumentSpec::Service(spec), .. }) = read(&format!("{text}{rest}")) else {
        panic!()
    };
    let environment: Vec<_> = spec.template.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=1", "B=2"]);
    assert!(spec.deploy.restart_policy.condition.is_some());
}

#[test]
fn json_is_read_alike_with_tabs() {
    let text = "{\"apiVersion\": \"evenkeel/v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\", \"namespace\": \"b\"},\n\t\"spec\": {\"image\": \"x\",\n\t\t\"deploy\": {\"replica\": 3}}}";
    let error = read(text).unwrap_err();
    assert_eq!(error.one_line(), "line 5, column 14: unknown key `replica`, did you mean `replicas`?");
    assert!(read(&text.replace("replica\"", "replicas\"")).is_ok());
}

#[test]
fn the_canonical_form_reads_itself() {
    for body in [
        "ports: ['80:80']\nvolumes: ['a:/a', /b, '/c:/c', {type: tmpfs, target: /d}]\ndns_search: ''",
        "deploy: {update_config: {max_failure_ratio: 0.3}, placement: {constraints: [node.labels.a==b]}}",
        "healthcheck: {disable: true}\nulimits: {nofile: 3}\ndepends_on: [a]\nlogging: {driver: none}",
    ] {
        let spec = service(body).unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ServiceSpec>(&json).unwrap(), spec, "{body}");
    }
}
