//! `evenkeel completion`: what a shell needs to complete words; and what it asks then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_runtime::store::Store;

use crate::complete::{Names, choices};
use crate::config::Settings;
use crate::output::say;

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(evenkeel completion bash)                                    now; or put that line into ~/.bashrc
  evenkeel completion bash >/etc/bash_completion.d/evenkeel             for everybody
  evenkeel completion zsh >/usr/local/share/zsh/site-functions/_evenkeel
  evenkeel completion fish >~/.config/fish/completions/evenkeel.fish

Names of services, copies, networks, health checks, hosts and namespaces are those of the cluster that the settings lead to. Where it
does not answer at once, none are offered, without a word.")]
pub struct Completion {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    /// Prints the script.
    pub fn run(&self) {
        say!(
            "{}",
            match self.shell {
                Shell::Bash => include_str!("completion/evenkeel.bash").trim_end(),
                Shell::Zsh => include_str!("completion/evenkeel.zsh").trim_end(),
                Shell::Fish => include_str!("completion/evenkeel.fish").trim_end(),
            }
        );
    }
}

/// What a person has typed so far.
#[derive(Debug, Args)]
pub struct Complete {
    /// The words after the command's name, the last one unfinished
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// A person waits for a key to answer: so long, and no longer.
const PATIENCE: Duration = Duration::from_millis(800);

impl Complete {
    /// Prints what may come, a word a line. Nothing that goes wrong is a person's business now.
    pub fn run(&self, settings: &Settings, mut command: Command) {
        command.build();
        let found = choices(&command, &self.words);
        let word = self.words.last().map(String::as_str).unwrap_or_default();
        let named = found.names.and_then(|names| ask(settings, names)).unwrap_or_default();
        for choice in found.words.iter().chain(named.iter().filter(|name| name.starts_with(word))) {
            say!("{choice}");
        }
    }
}

fn ask(settings: &Settings, names: Names) -> Option<BTreeSet<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(crate::connect_impatiently(settings).ok()?);
        tokio::time::timeout(PATIENCE, known(&store, names)).await.ok()?
    })
}

/// The names of what has a document.
async fn known(store: &Arc<dyn Store>, names: Names) -> Option<BTreeSet<String>> {
    let kinds = match names {
        Names::Services | Names::Scaled | Names::Copies => vec![Kind::Service],
        Names::Namespaces => vec![Kind::Service, Kind::HealthCheck],
        Names::Hosts => vec![Kind::Host],
        Names::Objects => vec![Kind::Service, Kind::Host],
        Names::Of(kind) => vec![kind],
    };
    let mut found = BTreeSet::new();
    for kind in kinds {
        for kv in store.list(&prefix::documents(kind)).await.ok()?.kvs {
            if let Ok(Key::Document(object)) = kv.key.parse() {
                found.extend(name(&object, names));
            }
        }
    }
    if names == Names::Copies {
        for kv in store.list(&prefix::instances()).await.ok()?.kvs {
            if let Ok(Key::Instance(_, copy)) = kv.key.parse() {
                found.insert(copy.to_string());
            }
        }
    }
    Some(found)
}

fn name(object: &ObjectRef, names: Names) -> Option<String> {
    match names {
        Names::Namespaces => object.namespace().map(ToString::to_string),
        Names::Scaled => Some(format!("{}=", object.path())),
        Names::Services | Names::Hosts | Names::Objects | Names::Copies | Names::Of(_) => Some(object.path()),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::TxnBuilder;

    use super::*;

    #[tokio::test]
    async fn the_clusters_names_are_offered_by_kind() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let mut txn = TxnBuilder::new();
        for key in
            ["services/shop/web", "services/data/db", "networks/lan", "healthchecks/pay/web-http", "hosts/h1"]
        {
            txn = txn.put(&key.parse().unwrap(), "{}");
        }
        txn = txn.put(&"instances/h1/shop.web.1.n4".parse().unwrap(), "{}");
        store.commit(&txn.build().unwrap()).await.unwrap();
        for (names, expected) in [
            (Names::Services, "data/db shop/web"),
            (Names::Scaled, "data/db= shop/web="),
            (Names::Copies, "data/db shop.web.1.n4 shop/web"),
            (Names::Namespaces, "data pay shop"),
            (Names::Hosts, "h1"),
            (Names::Objects, "data/db h1 shop/web"),
            (Names::Of(Kind::Network), "lan"),
            (Names::Of(Kind::HealthCheck), "pay/web-http"),
        ] {
            let found: Vec<String> = known(&store, names).await.unwrap().into_iter().collect();
            assert_eq!(found.join(" "), expected, "{names:?}");
        }
    }
}
