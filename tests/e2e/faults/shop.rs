//! What every fault meets: a web shop that is asked all the time, copies that do nothing, somebody else's
//! containers, and who watches the names.

use std::collections::BTreeMap;

use evenkeel_api::record::ConditionType;
use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::invariants::Foreign;
use evenkeel_tests::lab::load::{Change, Load, Summary};
use evenkeel_tests::lab::raw::{self, Recorder};
use evenkeel_tests::lab::{Lab, eventually, limit, since};
use tokio::time::Instant;

use crate::{documents, load};

/// Requests a second from each host that asks.
const RATE: f64 = 20.0;
/// The name that is asked.
pub const WEB: &str = "web.shop.internal";
/// Copies of each of the two services.
pub const COPIES: u32 = 6;

/// A shop that runs.
pub struct Shop<'a> {
    lab: &'a Lab,
    begun: Instant,
    requests: Vec<(String, Load)>,
    names: Vec<(String, Load)>,
    foreign: Foreign,
}

/// Where the shop is, and who asks.
pub struct Layout<'a> {
    /// The inside of `deploy` of `shop/web`, besides `replicas`.
    pub web: &'a str,
    /// The same of `shop/idle`.
    pub idle: &'a str,
    /// The hosts that send requests and watch the names.
    pub from: Vec<String>,
}

impl<'a> Shop<'a> {
    /// Opens it: `shop/web` with a check, and `shop/idle`, both everywhere; requests and watchers on all hosts
    /// but `victim`, which something will happen to.
    pub fn open(lab: &'a Lab, victim: &str) -> Self {
        Self::laid_out(lab, &Layout { web: "", idle: "", from: lab.hosts_but(victim) })
    }

    /// The same with `shop/web` kept away from `victim`, because what happens there ends copies.
    pub fn away_from(lab: &'a Lab, victim: &str) -> Self {
        let web = format!("placement: {{constraints: [\"node.hostname != {victim}\"]}}, ");
        Self::laid_out(lab, &Layout { web: &web, idle: "", from: lab.hosts_but(victim) })
    }

    /// The same as told.
    pub fn laid_out(lab: &'a Lab, layout: &Layout<'_>) -> Self {
        let deploy = |more: &str| format!("{more}replicas: {COPIES}");
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/web", &documents::web("1", &deploy(layout.web)));
        lab.put("services/shop/idle", &documents::idle(&deploy(layout.idle)));
        lab.settled("shop/web", COPIES, 90);
        lab.settled("shop/idle", COPIES, 60);
        let foreign = Foreign::start(lab);
        let rate = RATE.to_string();
        let server = |host: &String| lab.gateway("lan", host);
        let requests = |host: &String| {
            let words = ["http", &server(host), WEB, "8080", &rate];
            (host.clone(), Load::on(lab, load(), host, &words))
        };
        let names = |host: &String| {
            let words = ["names", &server(host), "50", WEB, "idle.shop.internal"];
            (host.clone(), Load::on(lab, load(), host, &words))
        };
        let shop = Self {
            lab,
            requests: layout.from.iter().map(requests).collect(),
            names: layout.from.iter().map(names).collect(),
            foreign,
            begun: Instant::now(),
        };
        eventually(15, "all watch the names", || {
            let all = shop.names.iter().all(|(_, watch)| !watch.changes().is_empty());
            if all { Ok(()) } else { Err("not yet".to_owned()) }
        });
        shop
    }

    /// What a host's name server said of the shop so far.
    pub fn said(&self, host: &str) -> Vec<Change> {
        let watch = self.names.iter().find(|(on, _)| on == host);
        let mut changes = watch.map(|(_, watch)| watch.changes()).unwrap_or_default();
        changes.retain(|change| change.name == WEB);
        changes
    }

    /// Ends it: no foreign container was touched, every name was answered with an address all the time, and
    /// the load was really sent.
    pub fn close(self) -> Requests {
        self.foreign.assert_untouched(self.lab);
        let seconds = since(self.begun);
        let requests: BTreeMap<String, Summary> =
            self.requests.into_iter().map(|(host, load)| (host, load.finish().1)).collect();
        for (host, summary) in &requests {
            let sent = summary.asked as f64;
            assert!(
                sent > seconds * RATE * 0.8,
                "the load of {host} was not sent in {seconds:.0} s: {summary}"
            );
        }
        for (host, watch) in self.names {
            let (_, summary) = watch.finish();
            assert_eq!(summary.failed, 0, "names on {host} were not answered: {summary}");
        }
        Requests(requests)
    }

    /// Ends it, and no request has failed.
    pub fn close_unharmed(self) -> String {
        let is_asked = !self.requests.is_empty();
        let requests = self.close();
        if !is_asked {
            return "without load".to_owned();
        }
        let failed = requests.failed();
        assert_eq!(failed, 0, "requests failed: {requests}");
        format!("no failed request of {}", requests.asked())
    }
}

/// What the load counted, by the host that asked.
pub struct Requests(BTreeMap<String, Summary>);

impl Requests {
    /// All that were sent.
    pub fn asked(&self) -> u64 {
        self.0.values().map(|summary| summary.asked).sum()
    }

    /// Those without a good answer in time.
    pub fn failed(&self) -> u64 {
        self.0.values().map(|summary| summary.failed).sum()
    }
}

impl std::fmt::Display for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (host, summary) in &self.0 {
            write!(f, "{host}: {summary}; ")?;
        }
        Ok(())
    }
}

/// A host that new copies go to. One that earlier cases took away three times within ten minutes gets none: what
/// is done to it then meets nothing. By the words of the leader, which remembers that.
pub fn steady_host(lab: &Lab) -> String {
    let mut hosts = lab.hosts();
    // The first one is where people ask from.
    hosts.rotate_left(1);
    eventually(15, "a host that new copies go to", || {
        let store = lab.try_store()?;
        let fine = |host: &&String| {
            let status = store.status(&format!("hosts/{host}"));
            let degraded =
                status.and_then(|status| status.condition(ConditionType::Degraded).map(|it| it.status));
            degraded == Some(false)
        };
        hosts.iter().find(fine).cloned().ok_or_else(|| "all are degraded".to_owned())
    })
}

/// Kills these copies one after the other, as a crash does; each must be back within two seconds, at its
/// address. The longest outage in milliseconds, by the engine's own clock.
pub fn killed_come_back(lab: &Lab, copies: &[(String, Container)]) -> f64 {
    assert!(!copies.is_empty(), "there is no copy to kill");
    let mut longest: f64 = 0.0;
    for (host, copy) in copies {
        let engine = lab.engine(host);
        let recorder = Recorder::start(&engine).unwrap_or_else(|error| panic!("{error}"));
        raw::kill(&engine, &copy.name).unwrap_or_else(|error| panic!("{error}"));
        let patience = std::time::Duration::from_secs(20);
        let outage = recorder.outage(&copy.name, patience);
        let outage = outage.unwrap_or_else(|| panic!("{} on {host} does not come back", copy.name));
        assert!(outage <= limit(2000.0), "{} on {host} was back only after {outage:.0} ms", copy.name);
        let now = engine.container(&copy.name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(now.address("lan"), copy.address("lan"), "{} came back elsewhere", copy.name);
        longest = longest.max(outage);
    }
    longest
}

/// Between the check that fails first and the second one, which decides.
const INTERVAL: (f64, f64) = (0.9, 1.1);

/// Makes a web copy sick; its own host's names must leave it out within a second after the check that decides.
/// Then it is well again, and back in the names. In words, how long that took.
pub fn sick_copy_leaves_local_names(lab: &Lab, host: &str) -> String {
    let copy = lab.copies_on(&[host.to_owned()], "shop/web").into_iter().next();
    let (_, copy) = copy.unwrap_or_else(|| panic!("no web copy on {host}"));
    let address = copy.address("lan");
    let named = |wanted: bool| {
        eventually(20, &format!("{address} in the names of {host}: {wanted}"), || {
            let found = lab.dig(host, WEB);
            if found.contains(&address) == wanted && !found.is_empty() {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    };
    lab.within(host, &copy.name, &["touch", "/tmp/sick"]).ok();
    let begun = Instant::now();
    named(false);
    let took = since(begun);
    // Asking by dig takes a while by itself on a machine with other work.
    assert!(
        took <= limit(2.0 * INTERVAL.1 + 1.0 + 0.5),
        "the sick copy left the names of {host} only after {took:.1} s"
    );
    lab.within(host, &copy.name, &["rm", "/tmp/sick"]).ok();
    named(true);
    format!(
        "a sick copy out of the local names {took:.1} s after it fell sick, at most {:.1} s after the check that \
         decides",
        took - INTERVAL.0
    )
}

/// Waits until etcd's records and the engines have as many copies as wanted, all ready, and then nothing
/// happens any more.
pub fn converged(lab: &Lab, seconds: u64) -> f64 {
    let begun = Instant::now();
    lab.settled("shop/web", COPIES, seconds);
    lab.settled("shop/idle", COPIES, seconds);
    let took = since(begun);
    lab.at_rest();
    took
}
