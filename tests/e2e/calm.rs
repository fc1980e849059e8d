//! A calm cluster is silent, and its controllers cost little.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::{Lab, case, pause, since};
use tokio::time::Instant;

use crate::documents::{self, REGISTRY};

#[test]
fn thirty_calm_copies_write_nothing() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/calm", &check());
        lab.put("services/shop/calm", &service());
        let begun = Instant::now();
        lab.settled("shop/calm", 30, 120);
        println!("-> 30 checked copies ready after {:.1} s", since(begun));
        // What is written at most so often may still be on its way.
        pause(Duration::from_secs(5));

        let time = Duration::from_secs(if is_full() { 60 } else { 20 });
        let before = lab.store();
        let used: BTreeMap<String, Use> =
            lab.hosts().into_iter().map(|host| (host.clone(), Use::of(lab, &host))).collect();
        pause(time);
        let after = lab.store();
        for (host, used) in used {
            let now = Use::of(lab, &host);
            println!(
                "-> controllers of {host}: {} processes, RSS {:.1} MB, PSS {:.1} MB, {:.2} % of a core",
                now.processes,
                now.rss_kb as f64 / 1e3,
                now.pss_kb as f64 / 1e3,
                (now.ticks - used.ticks) as f64 / time.as_secs_f64()
            );
        }
        let changed: Vec<&String> = after
            .values
            .iter()
            .filter(|(key, value)| before.values.get(*key) != Some(value))
            .map(|(key, _)| key)
            .collect();
        assert_eq!(before.revision, after.revision, "a calm cluster wrote; these keys changed: {changed:?}");
        println!("-> no revision in {} s", time.as_secs());
    });
}

fn service() -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {REGISTRY}/busybox:1\n  \
         command: [httpd, -f, -p, \"8080\", -h, /www]\n  networks: [lan]\n  init: true\n  \
         ports: [{{name: http, target: 8080}}]\n  deploy: {{replicas: 30, stop_delay: 0s}}\n"
    )
}

fn check() -> String {
    "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec:\n  target: {service: calm}\n  type: tcp\n  port: http\n  interval: 2s\n"
        .to_owned()
}

/// What the controllers of a host use.
#[derive(Default)]
struct Use {
    processes: u32,
    rss_kb: u64,
    pss_kb: u64,
    /// Hundredths of a second.
    ticks: u64,
}

impl Use {
    fn of(lab: &Lab, host: &str) -> Self {
        let mut all = Self::default();
        for pid in lab.exec(host, &["pgrep", "-f", "evenkeel controller"]).ok().lines() {
            let read = |file: &str| lab.exec(host, &["cat", &format!("/proc/{pid}/{file}")]).out;
            let sizes = read("smaps_rollup");
            let size = |name: &str| -> u64 {
                let line = sizes.lines().find(|line| line.starts_with(name));
                line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
            };
            all.processes += 1;
            all.rss_kb += size("Rss:");
            all.pss_kb += size("Pss:");
            // After the name in brackets: state, ppid, …, utime and stime as the 12th and 13th.
            let stat = read("stat");
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            all.ticks += fields.iter().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
        }
        assert!(all.processes > 0, "no controllers run on {host}");
        all
    }
}
