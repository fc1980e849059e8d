//! Alerts: a real Prometheus on the lab's LAN asks the hosts for their figures. Each alert is fired by the fault that it is
//! about, and is over again when that is.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use evenkeel_tests::lab::{Background, Lab, case, eventually};
use serde_json::Value;

use crate::documents;

/// The rules, as people have them, but for how long something must be so: nobody waits five minutes here.
fn rules(lab: &Lab) -> String {
    let text = std::fs::read_to_string(lab.checkout("charts/observe/rules.yaml")).unwrap();
    let mut out = String::new();
    for line in text.lines() {
        match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => {
                let _ = writeln!(out, "{indent}for: 2s");
            }
            // What counts over ten minutes is to be over within this test, too.
            _ => {
                let _ = writeln!(out, "{}", line.replace("[10m]", "[30s]"));
            }
        }
    }
    out
}

/// A Prometheus on the LAN, until it is dropped.
struct Prometheus<'l> {
    lab: &'l Lab,
    folder: PathBuf,
    process: Option<Background>,
}

impl<'l> Prometheus<'l> {
    fn start(lab: &'l Lab) -> Self {
        let folder = lab.file("prometheus");
        let _none = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\n\
             scrape_configs:\n",
        );
        for (job, port) in [("evenkeel", 7460), ("evenkeel-watchdog", 7467)] {
            let _ = writeln!(config, "  - job_name: {job}\n    static_configs:");
            for host in lab.hosts() {
                let at = lab.address(&host);
                let _ =
                    writeln!(config, "      - {{targets: [\"{at}:{port}\"], labels: {{instance: {host}}}}}");
            }
        }
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        std::fs::write(folder.join("rules.yaml"), rules(lab)).unwrap();
        // Ends with its standard input, so that it never outlives the test.
        let script = format!(
            "cd {} && prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:9090 \
             2>log & pid=$!; cat >/dev/null; kill $pid; wait $pid",
            folder.display()
        );
        let process = Some(lab.start(&["exec", "lan", "sh", "-c", &script]));
        let this = Self { lab, folder, process };
        eventually(30, "Prometheus reads all hosts", || {
            let up = this.samples("up == 1")?.len();
            if up == 2 * this.lab.hosts().len() { Ok(()) } else { Err(format!("{up} pages; {}", this.log())) }
        });
        this
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        text.lines().rev().take(3).collect::<Vec<_>>().join("\n")
    }

    fn ask(&self, path: &str, query: &str) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:9090/api/v1/{path}");
        let query = format!("query={query}");
        let answer =
            self.lab.exec("lan", &["curl", "-sS", "-m", "5", "-G", &url, "--data-urlencode", &query]);
        let answer: Value = serde_json::from_str(&answer.result()?).map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    /// The labels of what a query finds.
    fn samples(&self, query: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
        let data = self.ask("query", query)?;
        let found = data["result"].as_array().cloned().unwrap_or_default();
        Ok(found
            .into_iter()
            .map(|one| serde_json::from_value(one["metric"].clone()).unwrap_or_default())
            .collect())
    }

    /// Which alerts fire, with what they are about.
    fn firing(&self) -> Result<BTreeSet<String>, String> {
        let data = self.ask("alerts", "")?;
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing
            .map(|alert| {
                let label = |name: &str| alert["labels"][name].as_str().map(str::to_owned);
                let name = label("alertname").unwrap_or_default();
                let about = ["service", "host", "what", "instance"].into_iter().find_map(label);
                format!("{name} {}", about.unwrap_or_default()).trim_end().to_owned()
            })
            .collect())
    }

    fn fires(&self, seconds: u64, alert: &str) {
        eventually(seconds, &format!("{alert} fires"), || {
            let firing = self.firing()?;
            if firing.contains(alert) { Ok(()) } else { Err(format!("{firing:?}")) }
        });
        println!("-> {alert} fires");
    }

    /// No alert at all.
    fn calm(&self, seconds: u64) {
        eventually(seconds, "no alert fires", || {
            let firing = self.firing()?;
            if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
        });
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.finish();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// The two services that are harmed, and calm before that.
fn begin(lab: &Lab) -> Prometheus<'_> {
    lab.put("networks/lan", &documents::lan());
    lab.put("services/shop/web", &documents::web("1", "replicas: 3, stop_delay: 0s"));
    lab.settled("shop/web", 3, 60);
    let prometheus = Prometheus::start(lab);
    prometheus.calm(30);
    prometheus
}

#[test]
fn what_goes_wrong_with_a_service_is_told() {
    case(|lab| {
        let prometheus = begin(lab);
        // An update that fails: the others serve on, and the newest template does not run.
        let fails = "replicas: 3, stop_delay: 0s, update_config: {failure_action: rollback, monitor: 2s}";
        lab.put(
            "services/shop/web",
            &documents::web("1", fails).replace("  ports:", "  command: [\"/no/such\"]\n  ports:"),
        );
        prometheus.fires(60, "EvenkeelRolloutStopped web");
        lab.put("services/shop/web", &documents::web("1", "replicas: 3, stop_delay: 0s"));
        lab.settled("shop/web", 3, 60);
        prometheus.calm(60);

        // A copy that ends as soon as it is started.
        let ends = documents::idle("replicas: 2").replace("[sleep, \"1000000\"]", "[sh, -c, \"exit 7\"]");
        lab.put("services/shop/ends", &ends);
        prometheus.fires(60, "EvenkeelCopyRestarts ends");
        prometheus.fires(10, "EvenkeelServiceDown ends");
        let status = lab.keel(&["describe", "shop/ends"]).ok();
        println!("{status}");
        lab.delete("services/shop/ends");

        // An image that nobody has, and more copies than there is room for.
        lab.put("services/shop/none", &documents::idle("replicas: 1").replace("busybox:1", "nothing:1"));
        prometheus.fires(60, "EvenkeelServiceDown none");
        lab.delete("services/shop/none");
        lab.put(
            "services/shop/web",
            &documents::web("1", "replicas: 4, stop_delay: 0s, resources: {reservations: {memory: 900G}}"),
        );
        prometheus.fires(60, "EvenkeelCopiesMissing web");
        let pending = prometheus.samples("evenkeel_service_copies_pending").unwrap();
        assert_eq!(pending.iter().map(|labels| labels["reason"].as_str()).collect::<Vec<_>>(), ["memory"]);
        lab.put("services/shop/web", &documents::web("1", "replicas: 3, stop_delay: 0s"));
        prometheus.calm(90);
    });
}

#[test]
fn what_goes_wrong_with_hosts_and_etcd_is_told() {
    case(|lab| {
        let prometheus = begin(lab);
        lab.run(&["cut", "h2", "--from", "etcd"]);
        prometheus.fires(60, "EvenkeelStoreUnreachable h2");
        prometheus.fires(10, "EvenkeelHostGone h2");
        lab.run(&["heal", "h2"]);
        prometheus.calm(60);

        // A slip: all documents of services go at once.
        let services = ["one", "two"];
        let put = || {
            services.iter().for_each(|service| {
                lab.put(&format!("services/shop/{service}"), &documents::idle("replicas: 1"));
            });
            lab.put("services/shop/web", &documents::web("1", "replicas: 3, stop_delay: 0s"));
        };
        put();
        services.iter().for_each(|service| lab.settled(&format!("shop/{service}"), 1, 60));
        lab.etcdctl(&["del", "--prefix", "/evenkeel/v1/services/"]).ok();
        prometheus.fires(30, "EvenkeelBrake deletions");
        put();
        prometheus.calm(60);

        // Nobody leads: all that could are stopped.
        for host in lab.hosts() {
            lab.run(&["controllers", &host, "stop"]);
        }
        prometheus.fires(30, "EvenkeelNoLeader");
        for host in lab.hosts() {
            lab.run(&["controllers", &host, "start"]);
        }
        prometheus.calm(90);

        // An engine that is not there: its controllers try again and again.
        lab.run(&["engine", "h3", "stop"]);
        prometheus.fires(90, "EvenkeelReconcileFailing h3");
        lab.run(&["engine", "h3", "start"]);

        // etcd goes back to the past.
        lab.run(&["etcd", "snapshot"]);
        lab.put("services/shop/web", &documents::web("1", "replicas: 2, stop_delay: 0s"));
        lab.settled("shop/web", 2, 60);
        lab.run(&["etcd", "restore"]);
        prometheus.fires(60, "EvenkeelStoreNotTrusted h1");
        lab.keel(&["recover", "--from-hosts"]).ok();
        lab.settled("shop/web", 2, 60);
        prometheus.calm(90);
        all_are_there(&prometheus);
    });
}

/// What the rules ask for, a page of a real controller has had.
fn all_are_there(prometheus: &Prometheus<'_>) {
    let names = prometheus.ask("label/__name__/values", "").unwrap();
    let there: BTreeSet<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rules = std::fs::read_to_string(prometheus.lab.checkout("charts/observe/rules.yaml")).unwrap();
    for word in rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        assert!(!word.starts_with("evenkeel_") || there.contains(word), "no page had {word}");
    }
}
