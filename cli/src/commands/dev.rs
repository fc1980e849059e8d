//! `evenkeel dev`: a cluster of this one machine, to try things out: etcd and all controllers as children of this process.

mod folder;
mod offspring;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::HostName;
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::store::{Store, TxnBuilder};

use self::folder::Folder;
use self::offspring::{Children, Offspring};
use super::delete::confirmed;
use super::enter;
use crate::cluster::machine;
use crate::failure::Failure;
use crate::polling::{Step, poll};
use crate::sessions::stop::Stop;

/// Where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel dev                     until Ctrl-C; then nothing of it is left
  evenkeel dev --keep              containers run on, and the next `evenkeel dev` goes on with them

In another terminal: export EVENKEEL_CONFIG=/var/lib/evenkeel-dev/config.yaml, then `evenkeel apply -f …`. It needs root, a Docker
engine and the program `etcd` (on Debian: apt-get install docker.io etcd-server).")]
pub struct Dev {
    /// Where its data are: a folder of its own, which it makes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/evenkeel-dev")]
    data: PathBuf,
    /// etcd's port for clients, on this machine alone; its other one is the next
    #[arg(long, value_name = "PORT", default_value_t = 23790)]
    port: u16,
    /// The machine's address on the LAN [default: the one that its default route leaves from]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// Leave containers, networks and data as they are when it ends
    #[arg(long)]
    keep: bool,
}

/// What every service can be on, unless there is one already.
const NETWORK: &str = "apiVersion: evenkeel/v1\nkind: Network\nmetadata: {name: default}\nspec:\n  ipam: {config: [{subnet: \
                       10.88.0.0/16}]}\n  dns: {domain: internal}\n";
const ETCD_WITHIN: Duration = Duration::from_secs(20);
const EMPTY_WITHIN: Duration = Duration::from_secs(120);

impl Dev {
    /// Runs until it is told to end.
    ///
    /// # Errors
    /// Something is missing here, a child ends by itself, or it is told to end once more while it takes everything down.
    pub async fn run(&self) -> Result<(), Failure> {
        machine::need_root("evenkeel dev")?;
        // From before the first child on: whatever ends us must find somebody who ends them.
        let mut stop = Stop::watch()?;
        self.check()?;
        let cluster = Cluster::of(self)?;
        let data = Folder::open(&self.data)?;
        let mut children = Children::default();
        let ended = tokio::select! {
            failure = self.live(&cluster, &mut children, &data) => Err(failure),
            _told = stop.told() => Ok(()),
        };
        // Before there were controllers, nothing was brought; what an earlier run kept is not theirs to take down yet.
        let theirs = children.controllers.is_some();
        let ended = match ended {
            Ok(()) if theirs && !self.keep => cluster.down(&mut stop).await,
            ended => ended,
        };
        children.end().await;
        if ended.is_ok() && !self.keep {
            if theirs || data.is_new() {
                let left = data.take_away()?;
                tell(&left.map_or("nothing is left".to_owned(), |others| {
                    format!("nothing is left but what others have put there: {others}")
                }));
            } else {
                tell("what an earlier run kept is left as it was");
            }
        }
        ended
    }

    /// Starts everything, and sees that it runs; why it does not any more.
    async fn live(&self, cluster: &Cluster, children: &mut Children, data: &Folder) -> Failure {
        match self.begin(cluster, children, data).await {
            Ok(()) => children.one_ends().await,
            Err(failure) => failure,
        }
    }

    async fn begin(&self, cluster: &Cluster, children: &mut Children, data: &Folder) -> Result<(), Failure> {
        let Cluster { name, address, endpoint, store } = cluster;
        let etcd = children.etcd.insert(Offspring::start("etcd", &self.etcd(data), data)?);
        poll(ETCD_WITHIN, async || match store.get(&Key::Cluster).await {
            Ok(_) => Ok(Step::Done(())),
            Err(_) if etcd.is_over() => Err(etcd.told("ended by itself")),
            Err(error) => Ok(Step::NotYet(etcd.told(&format!("does not answer: {error}")))),
        })
        .await?;
        let command = Self::controllers(data, name, *address, endpoint)?;
        children.controllers = Some(Offspring::start("controllers", &command, data)?);
        let config = data.join("config.yaml");
        fs::write(&config, format!("endpoints: [\"{endpoint}\"]\n"))?;
        self.settle(store, name).await?;
        tell(&format!("{name} at {address} is a cluster. In another terminal:\n"));
        tell(&format!("  export EVENKEEL_CONFIG={}", config.display()));
        tell("  evenkeel apply -f FILE --wait; evenkeel status\n");
        tell(match self.keep {
            true => "Ctrl-C ends it, and containers run on.",
            false => "Ctrl-C ends it, with all that it runs.",
        });
        Ok(())
    }

    /// What must be here, and what must not.
    fn check(&self) -> Result<(), Failure> {
        let ours = ["ps", "-q", "--filter", "label=evenkeel.system"];
        match Command::new("docker").args(ours).output() {
            Ok(output) if output.status.success() && output.stdout.is_empty() => {}
            Ok(output) if output.status.success() => {
                return Err(Failure::new(
                    "this machine is a host of a cluster already, and those controllers and these would be in each other's \
                     way: end them by `evenkeel-host stop`",
                ));
            }
            _ => {
                return Err(Failure::new(
                    "no Docker engine answers here: on Debian, apt-get install docker.io",
                ));
            }
        }
        Command::new("etcd").arg("--version").output().map_err(|error| {
            Failure::new(format!("etcd: {error}; on Debian, apt-get install etcd-server brings etcd"))
        })?;
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            return Err(Failure::new(format!(
                "something answers at port {} already, as another `evenkeel dev` does: say another --port",
                self.port
            )));
        }
        Ok(())
    }

    fn etcd(&self, data: &Folder) -> Command {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (clients, peers) = (url(self.port), url(self.port.saturating_add(1)));
        let mut etcd = Command::new("etcd");
        etcd.args(["--name", "dev", "--log-level", "warn", "--logger", "zap"]);
        etcd.arg("--data-dir").arg(data.join("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.args(["--initial-cluster", &format!("dev={peers}")]);
        etcd
    }

    fn controllers(
        data: &Folder,
        name: &HostName,
        address: Ipv4Addr,
        endpoint: &str,
    ) -> Result<Command, Failure> {
        let mut controllers = Command::new(std::env::current_exe()?);
        controllers.args(["controller", "all", "--lead", "true", "--endpoints", endpoint]);
        controllers.args(["--host", name.as_str(), "--address", &address.to_string()]);
        controllers.arg("--state-dir").arg(data.join("state"));
        controllers.arg("--policy").arg(data.join(folder::POLICY));
        // For whoever sits at this machine; its LAN is told nothing.
        controllers.args(["--metrics", "127.0.0.1:7460"]);
        // With one member there is no other one whose answer could be stale.
        controllers.args(["--exclusive-any-etcd", "true"]);
        Ok(controllers)
    }

    /// Waits for the host, and sees that services have a network.
    async fn settle(&self, store: &Arc<dyn Store>, name: &HostName) -> Result<(), Failure> {
        enter::joined(store, name).await?;
        if store.list(&prefix::documents(Kind::Network)).await?.kvs.is_empty() {
            let key = Key::Document("Network default".parse::<ObjectRef>().map_err(Failure::new)?);
            store.commit(&TxnBuilder::new().if_absent(&key).put(&key, NETWORK).build()?).await?;
        }
        Ok(())
    }
}

/// Who it is, and where.
struct Cluster {
    name: HostName,
    address: Ipv4Addr,
    endpoint: String,
    store: Arc<dyn Store>,
}

impl Cluster {
    fn of(dev: &Dev) -> Result<Self, Failure> {
        let endpoint = format!("http://127.0.0.1:{}", dev.port);
        let store = EtcdStore::new(&EtcdConfig::new(vec![endpoint.clone()])).map_err(Failure::new)?;
        let address = dev.address.map_or_else(machine::address, Ok)?;
        Ok(Self { name: machine::name()?, address, endpoint, store: Arc::new(store) })
    }

    /// Takes everything down, unless a person will not wait for it.
    async fn down(&self, stop: &mut Stop) -> Result<(), Failure> {
        tell("taking everything down");
        tokio::select! {
            down = take_down(&self.store, &self.name) => down,
            told = stop.told() => Err(Failure {
                message: "not all is taken down: `evenkeel dev` goes on with what is left, and takes it down in the end"
                    .to_owned(),
                ..told
            }),
        }
    }
}

/// Says something, to whoever listens: that the terminal is gone is no reason to leave anything behind.
fn tell(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

/// Deletes all documents but the host's, and waits until nothing is left of what they brought.
async fn take_down(store: &Arc<dyn Store>, host: &HostName) -> Result<(), Failure> {
    for kinds in [&[Kind::HealthCheck, Kind::Service][..], &[Kind::Network]] {
        for kind in kinds {
            delete_all(store, *kind).await?;
        }
        let mut left: Vec<String> = kinds.iter().map(|kind| prefix::accepted(*kind)).collect();
        left.extend([prefix::instances_on(host), prefix::observed_on(host)]);
        if kinds.contains(&Kind::Network) {
            left.extend([prefix::subnets(), prefix::network_reports_of(host)]);
        }
        poll(EMPTY_WITHIN, async || {
            let mut keys = Vec::new();
            for prefix in &left {
                keys.extend(store.list(prefix).await?.kvs.into_iter().map(|kv| kv.key));
            }
            Ok(Step::once(keys.is_empty(), || {
                Failure::timed_out(format!("these are still being taken down: {}", keys.join(", ")))
            }))
        })
        .await?;
    }
    Ok(())
}

async fn delete_all(store: &Arc<dyn Store>, kind: Kind) -> Result<(), Failure> {
    /// Fits into a transaction.
    const AT_ONCE: usize = 50;
    let documents = store.list(&prefix::documents(kind)).await?.kvs;
    let keys: Vec<Key> = documents.iter().filter_map(|kv| kv.key.parse().ok()).collect();
    for keys in keys.chunks(AT_ONCE) {
        let object = |key: &Key| if let Key::Document(object) = key { Some(object.clone()) } else { None };
        let objects: Vec<ObjectRef> = keys.iter().filter_map(object).collect();
        let meant = serde_json::to_vec(&confirmed(&objects)).map_err(Failure::new)?;
        let txn = keys.iter().fold(TxnBuilder::new(), |txn, key| txn.delete(key));
        store.commit(&txn.put(&Key::Confirmed, meant).build()?).await?;
    }
    Ok(())
}
