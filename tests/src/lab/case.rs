//! One end-to-end case: a clean cluster before it, and the whole state of the cluster after it if it fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::time::Instant;

use super::{Lab, since};

/// Whether cases run at full length.
pub fn is_full() -> bool {
    std::env::var("EVENKEEL_E2E_FULL").is_ok_and(|value| value == "1")
}

/// A limit on time, in whatever unit: as given at full length, where figures count and the machine is to be quiet.
/// The short form runs wherever people and CI run it: there it is three times as long, and only tells that
/// something hangs.
pub fn limit(time: f64) -> f64 {
    if is_full() { time } else { 3.0 * time }
}

/// Runs a case on the lab that is up.
pub fn case(body: impl FnOnce(&Lab)) {
    let lab = Lab::of_environment();
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        lab.clean();
        let cleaned = since(begun);
        body(&lab);
        println!("-> the case took {:.1} s, {cleaned:.1} s of them to clean the cluster", since(begun));
    }));
    if let Err(panic) = outcome {
        dump(&lab);
        resume_unwind(panic);
    }
}

/// All that may tell why: shown only after a failure.
fn dump(lab: &Lab) {
    let show = |title: &str, text: String| println!("---- {title}\n{text}");
    for words in [&["keel", "status"][..], &["keel", "events"], &["keel", "get", "copies"], &["status"]] {
        let done = lab.call(words);
        show(&words.join(" "), format!("{}{}", tail(&done.out, 60), done.err));
    }
    if let Ok(store) = lab.try_store() {
        let lines: Vec<String> = store
            .values
            .iter()
            .filter(|(key, _)| {
                ["instances/", "observed/", "rollouts/", "endpoints/", "status/", "reports/", "brake"]
                    .iter()
                    .any(|p| key.starts_with(p))
            })
            .map(|(key, value)| format!("{key} {}", String::from_utf8_lossy(value)))
            .collect();
        show("keys", lines.join("\n"));
    }
    for host in lab.hosts() {
        let done = lab.docker(&host, &["ps", "-a", "--format", "{{.Names}}\t{{.Status}}\t{{.Image}}"]);
        show(&format!("containers on {host}"), done.out + &done.err);
        let controllers: &[&str] = if lab.is_separate() {
            &["host", "network", "service", "healthcheck", "instance", "dns"]
        } else {
            &["service"]
        };
        for controller in controllers {
            let done = lab.call(&["logs", &host, controller, "--tail", "60"]);
            show(&format!("logs {host} {controller}"), format!("{}\n{}", done.out, done.err));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
