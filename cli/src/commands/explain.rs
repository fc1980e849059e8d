//! `evenkeel explain`: why something runs or does not, from document to names.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{CheckId, HostName, Namespace, NetworkName};
use evenkeel_api::record::{ConditionType, DnsReport, NetworkReport, Timestamp};
use evenkeel_manager::service;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;

use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{Format, age, is_lively, say, structured};
use crate::snapshot;
use crate::why::{Explanation, Link, Mark, Scene, Target, explain};

/// What to explain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel explain shop/web               a service: why it does not run, or is not in the names
  evenkeel explain shop/web/2             one of its slots, also one without a copy
  evenkeel explain shop.web.2.n3          a copy, as `get copies` shows it
  evenkeel explain web.shop.internal      a name
  evenkeel explain h2                     a host

The first line answers. The chain follows, with !! at what is broken, .. at what comes by itself, and ~ at what holds
but not as the document says; then what helps.")]
pub struct Explain {
    /// NAMESPACE/SERVICE[/SLOT], a copy, a name, a host, or KIND NAME
    #[arg(required = true, num_args = 1..=2)]
    what: Vec<String>,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

impl Explain {
    /// Prints it.
    ///
    /// # Errors
    /// There is no such thing, or the store does not answer.
    pub async fn run(
        &self,
        settings: &Settings,
        store: &Arc<dyn Store>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let format = settings.output;
        let scene = Scene { made_here: whose::is_made_here(settings), ..read(store, now).await? };
        let target = Target::find(&scene, &self.what, self.namespace.as_ref())?;
        let explanation = explain(&scene, &target);
        if format != Format::Table {
            return structured(format, &explanation);
        }
        print(&explanation, now);
        Ok(())
    }
}

/// Reads all that explanations are made from.
async fn read(store: &Arc<dyn Store>, now: Timestamp) -> Result<Scene, Failure> {
    // A store that does not answer says so at once; a mirror would only wait.
    let leaders = store.list(&prefix::leaders()).await?;
    let halted = store.get(&Key::Halt).await?.0.is_some();
    let mirror = Mirror::start(store.clone(), service::prefixes());
    tokio::time::timeout(Duration::from_secs(10), mirror.synced())
        .await
        .map_err(|_| Failure::timed_out("etcd did not answer in time"))?;
    let mut scene = Scene::new(service::world(&mirror), now);
    let leads = leaders.kvs.iter().any(|kv| kv.key.parse() == Ok(Key::Leader(Controller::Service)));
    scene.idle = match (halted, leads) {
        (true, _) => {
            Some("etcd went back to the past: nothing is decided, and nothing is stopped".to_owned())
        }
        (false, false) => Some("no service controller leads: nothing is decided".to_owned()),
        (false, true) => None,
    };
    scene.refused_checks = refused_checks(store).await?;
    reports(&mirror, &mut scene.networks, &mut scene.served);
    Ok(scene)
}

async fn refused_checks(store: &Arc<dyn Store>) -> Result<BTreeMap<CheckId, String>, Failure> {
    let statuses = snapshot::statuses(store, Kind::HealthCheck).await?;
    let refused = statuses.into_iter().filter_map(|(object, status)| match object {
        ObjectRef::HealthCheck(id) => {
            let valid = status.condition(ConditionType::Valid).filter(|condition| !condition.status)?;
            Some((id, valid.message.clone()))
        }
        _ => None,
    });
    Ok(refused.collect())
}

/// What hosts report of networks that do not stand, and of the names that they serve.
fn reports(
    mirror: &Mirror,
    networks: &mut BTreeMap<(NetworkName, HostName), String>,
    served: &mut BTreeMap<HostName, i64>,
) {
    for kv in mirror.list(&prefix::reports()) {
        match kv.key.parse() {
            Ok(Key::NetworkReport(host, network)) => {
                if let Ok(NetworkReport::Conflict { why } | NetworkReport::Failed { why }) =
                    serde_json::from_slice(&kv.value)
                {
                    networks.insert((network, host), why);
                }
            }
            Ok(Key::DnsReport(host)) => {
                if let Ok(DnsReport { revision }) = serde_json::from_slice(&kv.value) {
                    served.insert(host, revision);
                }
            }
            _ => {}
        }
    }
}

fn print(explanation: &Explanation, now: Timestamp) {
    say!("{}\n", explanation.answer);
    for link in &explanation.links {
        say_link(link, now);
    }
    if !explanation.help.is_empty() {
        say!("\nwhat helps");
        let width = explanation.help.iter().map(|help| help.command.chars().count()).max().unwrap_or(0);
        for help in &explanation.help {
            say!("  {:width$}   {}", help.command, help.why);
        }
    }
}

fn say_link(link: &Link, now: Timestamp) {
    let finding = &link.finding;
    let (sign, colour) = match finding.mark {
        Mark::Holds => ("ok", 32),
        Mark::Aside => (" ~", 33),
        Mark::Waits => ("..", 33),
        Mark::Broken => ("!!", 31),
        Mark::Open => (" -", 0),
    };
    let sign = match is_lively() && std::io::stdout().is_terminal() {
        true => format!("\u{1b}[{colour}m{sign}\u{1b}[0m"),
        false => sign.to_owned(),
    };
    let since = finding.since.map(|since| format!(" ({})", age(since, now))).unwrap_or_default();
    let mut lines = finding.says.lines();
    say!("  {sign} {:12} {}{since}", link.name, lines.next().unwrap_or_default());
    for line in lines {
        say!("     {:12} {line}", "");
    }
}
