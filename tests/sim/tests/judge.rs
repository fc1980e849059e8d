//! What the judge calls a violation, and what it does not.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_engine::FakeEngine;
use evenkeel_plan::instance::container::label;
use evenkeel_runtime::store::{Change, Committed, Header, Kv, TxnBuilder};
use evenkeel_sim::judge::{Available, Judge};
use evenkeel_sim::life::Life;
use evenkeel_sim::rejected::Rejected;
use evenkeel_sim::stored::Written;
use evenkeel_sim::timeline::Timeline;

struct Court {
    judge: Judge,
    life: Life,
    engine: FakeEngine,
    timeline: Timeline,
}

impl Court {
    /// With one copy of ours that runs on h1.
    fn new() -> Self {
        let timeline = Timeline::new(true);
        let engine = FakeEngine::new();
        let labels = [(label::CLUSTER, "u"), (label::SERVICE, "web")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        engine.add_foreign("shop.web.1.1", BTreeMap::from(labels));
        engine.add_foreign("own", BTreeMap::new());
        let life = Life::new("h1", Arc::default(), Arc::default(), timeline.clone());
        Self { judge: Judge::new(timeline.clone()), life, engine, timeline }
    }

    fn asks(&self, verb: &str, of: &str) -> Option<String> {
        self.judge.asked(&self.life, &self.engine, verb, of);
        self.timeline.violation().map(|(_, what)| what)
    }

    fn commits(&self, txn: TxnBuilder) -> Option<String> {
        let done = Committed { succeeded: true, reads: Vec::new(), header: Header::default() };
        self.judge.committed(&self.life, &txn.build().unwrap(), &done);
        self.timeline.violation().map(|(_, what)| what)
    }

    fn confirm(&self) -> Option<String> {
        let key = "instances/h1/shop.web.1.1".parse().unwrap();
        self.commits(TxnBuilder::new().if_unchanged(&key, 5).get(&key))
    }

    async fn serve(&self, seconds: u64, wanted: usize, well: &[&str]) {
        for _ in 0..seconds {
            let well: BTreeSet<String> = well.iter().map(ToString::to_string).collect();
            let at = self.timeline.now();
            self.judge.available("web", Some(Available { at, wanted, well }));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_not_touched() {
    let court = Court::new();
    assert_eq!(court.asks("start", "shop.web.1.1"), None);
    assert!(court.asks("stop", "own").unwrap().starts_with("I4"));
    assert!(Court::new().asks("remove volume", "shop.data").unwrap().starts_with("I4"));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_runs_ends_without_the_stores_word() {
    let court = Court::new();
    assert_eq!(court.confirm(), None);
    assert_eq!(court.asks("stop", "shop.web.1.1"), None);
    court.judge.begins("h1");
    assert!(court.asks("stop", "shop.web.1.1").unwrap().starts_with("I5"), "the next life asks anew");
}

#[tokio::test(start_paused = true)]
async fn leaders_write_under_their_guard() {
    let put = |txn: TxnBuilder| txn.put(&"endpoints/shop/web/0".parse().unwrap(), "{}");
    let leader = "leaders/service".parse().unwrap();
    assert_eq!(Court::new().commits(put(TxnBuilder::new().if_unchanged(&leader, 7))), None);
    assert!(Court::new().commits(put(TxnBuilder::new())).unwrap().starts_with("I5"));
    let absent = put(TxnBuilder::new().if_absent(&leader));
    assert!(Court::new().commits(absent).unwrap().starts_with("I5"));
}

#[tokio::test(start_paused = true)]
async fn no_copy_goes_while_one_too_few_serve() {
    for (seconds, wanted, well, fine) in [
        (30, 2, vec!["shop.web.1.1", "shop.web.2.1"], true),
        (30, 3, vec!["shop.web.1.1", "shop.web.2.1"], false),
        (10, 3, vec!["shop.web.1.1", "shop.web.2.1"], true),
        (30, 3, vec!["shop.web.2.1", "shop.web.3.1"], true),
    ] {
        let court = Court::new();
        court.confirm();
        court.serve(seconds, wanted, &well).await;
        let said = court.asks("stop", "shop.web.1.1");
        assert_eq!(said.is_none(), fine, "{seconds} {wanted} {well:?}: {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_one() {
    let court = Court::new();
    let storm = (0..400).find_map(|_| court.asks("pull", "image"));
    assert!(storm.unwrap().starts_with("I8"));
}

#[tokio::test(start_paused = true)]
async fn nothing_stops_by_the_word_of_the_past() {
    let court = Court::new();
    court.confirm();
    court.judge.goes_back(BTreeSet::from(["instances/h1/shop.web.1.1".to_owned()]));
    assert!(court.asks("stop", "shop.web.1.1").unwrap().starts_with("I10"));
    let other = Court::new();
    other.confirm();
    other.judge.goes_back(BTreeSet::new());
    assert_eq!(other.asks("stop", "shop.web.1.1"), None, "it was to stop before");
    let court = Court::new();
    court.confirm();
    court.judge.goes_back(BTreeSet::from(["instances/h1/shop.web.1.1".to_owned()]));
    court.judge.trusts();
    assert_eq!(court.asks("stop", "shop.web.1.1"), None);
}

/// Writes that follow each other, each a transaction of its own.
fn written(puts: &[(&str, &str)]) -> Written {
    let put = |(n, (key, value)): (usize, &(&str, &str))| {
        let revision = n as i64 + 1;
        Change::Put(Kv {
            key: (*key).to_owned(),
            value: value.as_bytes().to_vec().into(),
            create_revision: revision,
            mod_revision: revision,
            lease: 0,
        })
    };
    Written { anew: false, changes: puts.iter().enumerate().map(put).collect() }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_template_stays_rejected_until_a_person_wants_it() {
    let copy = r#"{"template":"shop/web@7","slot":"1","desired":"run","cause":"x"}"#;
    let begin = [
        ("revisions/services/shop/web/7", "bad"),
        ("revisions/services/shop/web/9", "bad"),
        ("rollouts/shop/web", r#"{"seq":1,"rejected":[7]}"#),
    ];
    let forgets = ("rollouts/shop/web", r#"{"seq":1}"#);
    let tries = ("instances/h1/shop.web.1.1", copy);
    let retry = ("pins/shop/web", r#"{"retry":7}"#);
    let pause = ("pins/shop/web", r#"{"pause":true}"#);
    for (then, said) in [
        (vec![forgets], Some("was rejected at 3")),
        (vec![tries], Some("is a new copy of shop/web@7")),
        (vec![pause, tries], Some("is a new copy of shop/web@7")),
        (vec![retry, forgets, tries], None),
        (vec![begin[2]], None),
    ] {
        let timeline = Timeline::new(true);
        let puts: Vec<_> = begin.iter().copied().chain(then.clone()).collect();
        Rejected::default().look(&timeline, &written(&puts));
        let found = timeline.violation().map(|(_, what)| what);
        match said {
            Some(said) => assert!(found.clone().unwrap_or_default().contains(said), "{then:?}: {found:?}"),
            None => assert_eq!(found, None, "{then:?}"),
        }
    }
}
