//! What a host allows.

use super::*;
use crate::instance::policy::{Leave, needed, refusal, wishes};

#[test]
fn the_policy_refuses_what_it_does_not_name() {
    let template = |change: fn(&mut Template)| {
        let mut template = Template::default();
        change(&mut template);
        template
    };
    let bind = |path: &str, read_only| {
        let source = MountSource::Bind {
            path: path.into(),
            propagation: None,
            selinux: None,
            create_host_path: false,
        };
        Template { mounts: vec![Mount { target: "/x".into(), source, read_only }], ..Template::default() }
    };
    let leave = Leave {
        host_namespaces: BTreeSet::from(["network".into()]),
        capabilities: BTreeSet::from(["NET_ADMIN".into()]),
        host_paths: BTreeSet::from(["/srv".into(), "/proc:ro".into()]),
        ..Leave::default()
    };
    let some = HostPolicy { namespaces: BTreeMap::from([("shop".to_owned(), leave)]) };
    let all = Leave { privileged: true, ..Leave::default() };
    let all = HostPolicy { namespaces: BTreeMap::from([("*".to_owned(), all)]) };
    let none = HostPolicy::default();
    let allowed = |policy: &HostPolicy, template: &Template| {
        refusal(policy, &"h2".parse().unwrap(), &"shop".parse().unwrap(), template).is_none()
    };
    let cases: [(&str, Template, bool, bool); 16] = [
        ("plain", Template::default(), true, true),
        ("privileged", template(|t| t.privileged = Some(true)), false, false),
        ("host network", template(|t| t.network_mode = Some(NetworkMode::Host)), false, true),
        ("host ipc", template(|t| t.ipc = Some("host".into())), false, false),
        ("engine's capability", template(|t| t.cap_add = vec!["CHOWN".into()]), true, true),
        ("capability", template(|t| t.cap_add = vec!["NET_ADMIN".into()]), false, true),
        ("all capabilities", template(|t| t.cap_add = vec!["ALL".into()]), false, false),
        ("seccomp", template(|t| t.security_opt = vec!["seccomp=unconfined".into()]), false, false),
        (
            "no-new-privileges",
            template(|t| t.security_opt = vec!["no-new-privileges:true".into()]),
            true,
            true,
        ),
        ("no label", template(|t| t.security_opt = vec!["label:disable".into()]), false, false),
        (
            "new privileges",
            template(|t| t.security_opt = vec!["no-new-privileges=false".into()]),
            false,
            false,
        ),
        ("path", bind("/srv/data", false), false, true),
        ("path that only begins alike", bind("/srvx", false), false, false),
        ("path upwards", bind("/srv/../etc", false), false, false),
        ("read-only path, writable", bind("/proc/sys", false), false, false),
        ("read-only path", bind("/proc/sys", true), false, true),
    ];
    for (name, template, by_none, by_some) in &cases {
        assert_eq!((allowed(&none, template), allowed(&some, template)), (*by_none, *by_some), "{name}");
        assert!(allowed(&all, template), "{name}");
        let just = needed(template);
        assert_eq!(just == Leave::default(), *by_none, "{name}: {just:?}");
        // No folder that is named allows a path that leads up again.
        if *name != "path upwards" {
            let just = HostPolicy { namespaces: BTreeMap::from([("shop".to_owned(), just)]) };
            assert!(allowed(&just, template), "{name}: {just:?}");
        }
    }
    for socket in ["/var/run/docker.sock", "/run", "/"] {
        assert!(!allowed(&some, &bind(socket, true)), "{socket}");
        assert!(needed(&bind(socket, true)).engine_socket, "{socket}");
    }
    let why = refusal(&none, &"h2".parse().unwrap(), &"shop".parse().unwrap(), &cases[1].1).unwrap();
    assert_eq!(
        why,
        "host policy on h2 does not allow privileged for namespace shop; see /etc/evenkeel/policy.yaml"
    );
}

#[test]
fn policies_add_up() {
    let set = |words: &[&str]| words.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    let of =
        |namespace: &str, leave: Leave| HostPolicy { namespaces: [(namespace.to_owned(), leave)].into() };
    let left = Leave { engine_socket: true, capabilities: set(&["NET_ADMIN"]), ..Leave::default() };
    let right = Leave {
        privileged: true,
        unconfined: true,
        capabilities: set(&["SYS_TIME"]),
        host_namespaces: set(&["pid"]),
        devices: set(&["/dev/kvm"]),
        host_paths: set(&["/srv"]),
        ..Leave::default()
    };
    let both = Leave { engine_socket: true, capabilities: set(&["NET_ADMIN", "SYS_TIME"]), ..right.clone() };
    // Whichever comes first; and nobody loses what another file does not say.
    for (mut first, second) in
        [(of("shop", left.clone()), of("shop", right.clone())), (of("shop", right), of("shop", left))]
    {
        first.join(second);
        assert_eq!(first, of("shop", both.clone()));
        first.join(HostPolicy::default());
        first.join(of("shop", Leave::default()));
        assert_eq!(first, of("shop", both.clone()));
        first.join(of("pay", Leave { unconfined: true, ..Leave::default() }));
        let namespaces: Vec<&str> = first.namespaces.keys().map(String::as_str).collect();
        assert_eq!(namespaces, ["pay", "shop"]);
        assert!(first.namespaces["pay"].unconfined && !first.namespaces["pay"].privileged);
    }
}

#[test]
fn what_a_template_asks_of_its_host_is_told_thing_by_thing() {
    assert_eq!(wishes(&Template::default()), Vec::<String>::new());
    let wishing = Template {
        network_mode: Some(NetworkMode::Host),
        cap_add: vec!["NET_ADMIN".into(), "CHOWN".into()],
        ..Template::default()
    };
    assert_eq!(wishes(&wishing), ["the host's network namespace", "capability NET_ADMIN"]);
}
