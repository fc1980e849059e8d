//! What a host tells about its networks: on change only.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::record::NetworkReport;
use evenkeel_plan::network::host::{HostPlan, Inputs, Verdict};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{MAX_WRITES, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, WriteError, Writer};

use super::execute::Failures;
use super::inputs::reports;

/// Begins the message of a host whose engine lost its own rules.
const FIREWALL_LOST: &str = "EngineFirewallLost: Docker's own firewall rules are gone (nft flush ruleset?); \
    container traffic works, published ports do not until the engine is restarted";

/// How each network is, in a report's words. Networks of which nothing is known yet are left out.
pub(super) fn reports_of(plan: &HostPlan, failures: &Failures) -> BTreeMap<NetworkName, NetworkReport> {
    let mut result = BTreeMap::new();
    for (name, verdict) in &plan.verdicts {
        let failed = failures.of.get(name).or(failures.all.as_ref());
        let report = match (verdict, failed) {
            // Also where the engine refuses a new network: that is the same trouble in its own words.
            (Verdict::Ready { .. }, _) | (Verdict::Pending, Some(_)) if plan.engine_firewall_lost => {
                NetworkReport::Failed { why: FIREWALL_LOST.to_owned() }
            }
            (Verdict::Ready { part }, _) => NetworkReport::Ready { subnet: *part },
            (Verdict::Conflict { why }, _) => NetworkReport::Conflict { why: why.clone() },
            (Verdict::Blocked { why }, _) => NetworkReport::Failed { why: why.clone() },
            (Verdict::Gone, _) => NetworkReport::Gone,
            (Verdict::Pending, Some(why)) => NetworkReport::Failed { why: why.clone() },
            (Verdict::Pending, None) => continue,
        };
        result.insert(name.clone(), report);
    }
    result
}

/// Put what differs from what stands in the store, and take away what nobody asks for any more.
pub(super) async fn put(
    writer: &Writer,
    mirror: &Mirror,
    host: &HostName,
    inputs: &Inputs,
    wanted: &BTreeMap<NetworkName, NetworkReport>,
) -> Result<(), WriteError> {
    let mut txn = TxnBuilder::new();
    let mut standing = BTreeMap::new();
    for kv in mirror.list(&reports(host)) {
        if let Ok(Key::NetworkReport(_, network)) = kv.key.parse() {
            standing.insert(network, kv);
        }
    }
    for (network, report) in wanted {
        let Ok(value) = serde_json::to_vec(report) else { continue };
        let before = standing.get(network);
        if before.is_some_and(|kv| kv.value == value) || txn.writes() == MAX_WRITES {
            continue;
        }
        let key = Key::NetworkReport(host.clone(), network.clone());
        txn = txn.if_unchanged(&key, before.map_or(0, |kv| kv.mod_revision)).put(&key, value);
    }
    for (network, kv) in standing.iter().filter(|(network, _)| !inputs.networks.contains_key(*network)) {
        let key = Key::NetworkReport(host.clone(), network.clone());
        if txn.writes() < MAX_WRITES {
            txn = txn.if_unchanged(&key, kv.mod_revision).delete(&key);
        }
    }
    if txn.writes() == 0 {
        return Ok(());
    }
    if let Outcome::Done { revision } = writer.commit(txn).await? {
        // Else the next pass would see its own report as missing.
        let _ = tokio::time::timeout(Duration::from_secs(2), mirror.caught_up(revision)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_api::key::Controller;
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::env::{Env, SystemClock};
    use evenkeel_runtime::store::Store;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_reports_than_one_transaction_takes_go_in_the_next() {
        let store = MemoryStore::new(1);
        let host: HostName = "h1".parse().unwrap();
        for n in 0..=MAX_WRITES {
            let key = Key::NetworkReport(host.clone(), format!("n{n}").parse().unwrap());
            store.commit(&TxnBuilder::new().put(&key, "{}").build().unwrap()).await.unwrap();
        }
        let client: Arc<dyn Store> = Arc::new(store.client(7));
        let env = Arc::new(Env::new(SystemClock, 7));
        let writer = Writer::new(client.clone(), env, host.clone(), Controller::Network);
        let mirror = Mirror::start(client, vec![reports(&host)]);
        mirror.synced().await;
        for left in [1, 0] {
            put(&writer, &mirror, &host, &Inputs::default(), &BTreeMap::new()).await.unwrap();
            assert_eq!(store.peek("reports/h1/network/").len(), left);
        }
    }
}
