use super::*;

/// Each refusal on a line: what is written, and what the answer must say.
#[test]
fn refusals() {
    for (body, says) in [
        // Keys.
        ("replica: 3", "unknown key `replica`"),
        ("deploy: {replica: 3}", "unknown key `replica`, did you mean `replicas`?"),
        ("replicas: 3", "unknown key `replicas` here; it belongs below `spec.deploy`"),
        ("memory: 3", "unknown key `memory`"),
        ("env: {A: b}", "unknown key `env`, did you mean `environment`?"),
        ("stopGracePeriod: 3s", "did you mean `stop_grace_period`?"),
        ("deploy: {restart: always}", "write `deploy.restart_policy.condition`"),
        // Environment.
        ("environment: [PATH]", "this name has no value"),
        ("environment: {A: }", "this name has no value"),
        ("environment: {A: [1]}", "expected text, found a list"),
        ("environment: 5", "expected a mapping, or a list of NAME=value, found 5"),
        ("environment: {A: '${B}'}", "the variable ${B} is still in the document"),
        ("labels: {evenkeel.x: y}", "evenkeel's own"),
        ("deploy: {labels: {evenkeel.x: y}}", "evenkeel's own"),
        ("command: it's", "the quote ' is not closed"),
        // Ports.
        ("ports: ['70000:80']", "\"70000\" is no port: 1 to 65535"),
        ("ports: ['80:80', '80:81']", "port 80 of the host is published twice"),
        ("ports: ['80:80', '127.0.0.1:80:81']", "port 80 of the host is published twice"),
        ("ports: ['1-65535:1-65535']", "65535 ports are too many: 500 at most"),
        ("ports: [':80']", "publishes nothing"),
        ("ports: ['80:']", "\"\" is no port"),
        ("ports: ['80-82:80-81']", "the ranges differ in length"),
        ("ports: ['82-80:82-80']", "runs backwards"),
        ("ports: ['[::1]:80:80']", "IPv6 is not supported yet"),
        ("ports: ['80:80/sctp']", "sctp is not supported yet"),
        ("ports: ['80:80/http']", "\"http\" is no protocol"),
        ("ports: [{target: 80, mode: ingress}]", "`mode: ingress` is not supported yet"),
        ("ports: [{published: 80}]", "`target` is missing"),
        ("ports: [{target: 80, host_ip: 10.0.0.1/24}]", "did you mean 10.0.0.0/24"),
        ("ports: [{target: 80, name: a}, {target: 81, name: a}]", "two ports are named \"a\""),
        ("ports: ['80:80", "this is no YAML"),
        // Mounts.
        ("volumes: ['./a:/b']", "relative to a checkout"),
        ("volumes: ['~/a:/b']", "in the home of whoever deploys"),
        ("volumes: ['a/b:/c']", "relative to a checkout"),
        ("volumes: ['a:b']", "no absolute path in the container"),
        ("volumes: ['a:/']", "nothing can be mounted on /"),
        ("volumes: ['a_b:/b']", "volume \"a_b\" is not a DNS label"),
        ("volumes: ['a:/b:or']", "\"or\" is no option of a mount"),
        ("volumes: ['a:/b', 'c:/b/']", "two things are mounted on /b"),
        ("volumes: ['a:/b']\ntmpfs: /b", "two things are mounted on /b"),
        ("volumes: [{type: bind, target: /b}]", "a bind needs its `source`"),
        ("volumes: [{type: bind, source: /a, target: /b, volume: {nocopy: true}}]", "another type of mount"),
        ("volumes: [{type: cluster, source: a, target: /b}]", "there are no cluster volumes"),
        ("volumes: [{type: tmpfs, target: /b, tmpfs: {mode: 1777}}]", "in octal with a leading zero"),
        // Single keys.
        ("restart: sometimes", "\"sometimes\" is not one of always"),
        ("restart: always\ndeploy: {restart_policy: {condition: any}}", "keep one of them"),
        ("healthcheck: {test: [curl, x]}", "a list begins with CMD"),
        ("healthcheck: {disable: true, test: x}", "exclude each other"),
        ("healthcheck: {interval: 5}", "a duration like 1m30s"),
        ("networks: {lan: {ipv4_address: 10.0.0.1}}", "`ipv4_address` is refused"),
        ("networks: [a_b]", "try \"a-b\""),
        ("networks: [lan]\nnetwork_mode: host", "stands instead of `networks`"),
        ("network_mode: bridge", "`network_mode: bridge` is refused"),
        ("network_mode: service:vpn", "`network_mode: service:vpn` is refused"),
        ("network_mode: hots", "`hots` is not one of `host`, `none`, did you mean `host`?"),
        ("network_mode: none\nports: ['80:80']", "nothing can be published"),
        ("container_name: a_b", "try \"a-b\""),
        ("hostname: '{{.Node.Hostname}}'", "templates are not filled in"),
        ("working_dir: app", "not absolute"),
        ("devices: [a]", "write an absolute path"),
        ("gpus: some", "`gpus` takes `all` or a number"),
        ("security_opt: ['seccomp:./x.json']", "the profile is a file on another machine"),
        ("ulimits: {nofile: {soft: 5, hard: 3}}", "above the hard one"),
        ("ulimits: {nofile: {soft: 5}}", "`hard` is missing"),
        ("dns: [::1]", "is no IPv4 address"),
        ("oom_score_adj: 2000", "goes from -1000 to 1000"),
        ("pull_policy: daily", "`pull_policy: daily` is refused"),
        ("pull_policy: maybe", "is not one of"),
        ("platform: amd64", "no platform"),
        ("tty: 1", "expected true or false, found 1"),
        ("tty: yes", "expected true or false, found the text \"yes\""),
        ("depends_on: {a: {condition: service_completed_successfully}}", "is not supported yet"),
        ("depends_on: {a: {condition: healthy}}", "`healthy` is not one of"),
        ("depends_on: [a_b]", "try \"a-b\""),
        // Twins.
        (
            "mem_limit: 1G\ndeploy: {resources: {limits: {memory: 2G}}}",
            "`mem_limit: 1G` and `deploy.resources.limits.memory: 2G`",
        ),
        ("scale: 2\ndeploy: {replicas: 3}", "two words for one thing, and differ"),
        ("memswap_limit: 1G", "needs a limit of memory"),
        ("memswap_limit: 1M\nmem_limit: 2M", "cannot be below 2M"),
        ("mem_reservation: 2G\nmem_limit: 1G", "are set aside, but a copy may use only 1G"),
        ("cpus: 1.0005", "at most three decimals"),
        // Deploy.
        ("deploy: {mode: global, replicas: 2}", "leave `replicas` out"),
        ("deploy: {mode: replicated-job}", "`mode: replicated-job` is not supported yet"),
        ("deploy: {mode: cron}", "`mode: cron` is not supported yet"),
        ("deploy: {replicas: -1}", "expected a whole number from 0 to 4294967295, found -1"),
        ("deploy: {replicas: many}", "found the text \"many\""),
        ("deploy: {endpoint_mode: vip}", "`endpoint_mode: vip` is refused"),
        ("deploy: {update_config: {healthy_deadline: 5m}}", "write `progress_deadline`"),
        ("deploy: {update_config: {progress_deadline: 0s}}", "no time at all"),
        ("deploy: {update_config: {canary: 1}}", "`canary` is not supported yet"),
        ("deploy: {update_config: {max_failure_ratio: 2}}", "write a number from 0 to 1"),
        ("deploy: {rollback_config: {parallelism: 1}}", "`rollback_config` is not supported yet"),
        ("deploy: {exclusive: true, mode: global}", "a slot never leaves its host"),
        ("deploy: {exclusive: true, update_config: {order: start-first}}", "write `order: stop-first`"),
        ("deploy: {exclusive: true, disconnect: {stop_on_client_after: 2s}}", "2s is out of range: from 3s"),
        ("deploy: {exclusive: true, disconnect: {stop_on_client_after: 2h}}", "2h is out of range"),
        ("deploy: {disconnect: {stop_on_client_after: 5s}}", "write `deploy.exclusive: true` beside it"),
        ("deploy: {pre: {command: a}}", "`pre` is not supported yet"),
        ("deploy: {placement: {constraints: [node.role == manager]}}", "there are no managers"),
        ("deploy: {placement: {constraints: [node.id == x]}}", "hosts have no id"),
        ("deploy: {placement: {constraints: [engine.labels.a == x]}}", "into the Host document"),
        ("deploy: {placement: {constraints: [node.labels.a = x]}}", "with == or !="),
        ("deploy: {placement: {constraints: ['node.labels.a ==']}}", "compares with nothing"),
        ("deploy: {placement: {preferences: [{spread: rack}]}}", "write it like node.labels.rack"),
        ("deploy: {placement: {max_replicas_per_node: 0}}", "none at all"),
        ("deploy: {resources: {limits: {memory: lots}}}", "is not a size"),
        ("deploy: {resources: {reservations: {devices: [{count: 1}]}}}", "write `gpus`"),
        // Not here.
        ("secrets: [a]", "`secrets` is not supported yet"),
        ("configs: [a]", "`configs` is not supported yet"),
        ("env_file: .env", "`env_file` is refused"),
        ("profiles: [debug]", "`profiles` is refused"),
        ("links: [db]", "`links` is refused"),
        ("post_start: [{command: a}]", "`post_start` is not supported yet"),
        ("extends: {service: a}", "`extends` is refused"),
        // YAML.
        ("tty: true\ntty: false", "the key `tty` is written twice"),
        ("environment: *env", "names an anchor that the document does not define"),
        ("\ttty: true", "indent with spaces"),
        ("[a]: b", "a key must be text"),
    ] {
        match service(body) {
            Ok(_) => panic!("{body} is taken"),
            Err(problem) => assert!(problem.contains(says), "{body}\n  says  {problem}\n  not   {says}"),
        }
    }
}

#[test]
fn an_image_that_is_not_there_has_a_reason() {
    for (spec, says) in [
        ("{build: .}", "only `build`, and hosts do not build"),
        ("{extends: {service: a}}", "only `extends`"),
        ("{command: a}", "`image` is missing"),
        ("{image: }", "`image` is missing"),
        ("{image: 'a b'}", "is no image"),
    ] {
        assert!(problem("Service", spec).unwrap().contains(says), "{spec}");
    }
}

#[test]
fn an_error_shows_its_place() {
    let error = read(&document("deploy:\n  replica: 3")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "web.yaml:7:5: unknown key `replica`, did you mean `replicas`?\n  \
         |\n7 |     replica: 3\n  |     ^^^^^^^\n  = in spec.deploy"
    );
    assert_eq!(error.one_line(), "line 7, column 5: unknown key `replica`, did you mean `replicas`?");
    let json = serde_json::to_value(&error).unwrap();
    assert_eq!(json["suggestion"], "replicas");
    assert_eq!(serde_json::from_value::<DocumentError>(json).unwrap(), error);
}

#[test]
fn an_error_across_keys_shows_its_place_too() {
    let error = read(&document("tty: true\nports:\n  - 80:80\n  - 80:81")).unwrap_err();
    assert_eq!((error.line, error.column, error.path.as_str()), (9, 7, "spec.ports.1"));
    let error = read(&document("deploy:\n  mode: global\n  replicas: 2")).unwrap_err();
    assert_eq!((error.line, error.column), (8, 5));
}

#[test]
fn all_refused_keys_are_told_at_once_and_in_order() {
    let error = read(&document("profiles: [a]\nprots: [80]\nlinks: [b]")).unwrap_err();
    assert_eq!(error.also.len(), 2);
    assert!(error.one_line().ends_with("(and 2 more)"), "{}", error.one_line());
    let lines: Vec<_> = error.also.iter().map(|also| also.line).collect();
    assert_eq!((error.line, lines), (6, vec![7, 8]));
    assert!(error.to_string().contains("did you mean `ports`?"));
}

#[test]
fn an_error_in_an_anchor_shows_where_it_is_written() {
    let text = "x-base: &base {tyt: true}\napiVersion: evenkeel/v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec: {image: a, <<: *base}\n";
    assert_eq!(
        read(text).unwrap_err().one_line(),
        "line 1, column 16: unknown key `tyt`, did you mean `tty`?"
    );
}

#[test]
fn a_terminal_gets_no_control_characters() {
    let text = document(&format!("x-a: 1\nhostname: \"a\u{7}b\" # {}", "é".repeat(300)));
    let shown = read(&text).unwrap_err().to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
    let text = document(&format!("\"\\e[31m{}\": 1", "k".repeat(10_000)));
    let error = read(&text).unwrap_err();
    assert!(!error.problem.chars().any(char::is_control) && error.problem.chars().count() < 700, "{error}");
}

#[test]
fn warnings_name_their_place() {
    let document =
        read(&document("build: .\ncontainer_name: x\ncommand: a && b\ndeploy: {replicas: 2}")).unwrap();
    let warnings: Vec<_> = document.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(warnings[0], "line 6, column 3: `build` is ignored: hosts do not build; the image is pulled");
    assert!(warnings.iter().any(|w| w.starts_with("line 7, column 3: `container_name`")));
    assert!(warnings.iter().any(|w| w.contains("without a shell")));
}
