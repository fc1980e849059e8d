//! `evenkeel dev`: a cluster of this one machine, to try things out: etcd and all controllers as children of this process.

mod folder;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::HostName;
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::store::{Store, TxnBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use self::folder::Folder;
use super::delete::confirmed;
use super::host;
use crate::cluster::machine;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};

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
/// For a child that was told to end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

impl Dev {
    /// Runs until it is told to end.
    ///
    /// # Errors
    /// Something is missing here, or a child ends by itself.
    pub async fn run(&self) -> Result<(), Failure> {
        machine::need_root("evenkeel dev")?;
        self.check()?;
        let name = machine::name()?;
        let address = self.address.map_or_else(machine::address, Ok)?;
        let data = Folder::open(&self.data)?;
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let mut etcd = Offspring::start("etcd", self.etcd(&data), &data)?;
        let store: Arc<dyn Store> =
            Arc::new(EtcdStore::new(&EtcdConfig::new(vec![endpoint.clone()])).map_err(Failure::new)?);
        poll(ETCD_WITHIN, async || {
            Ok(match store.get(&Key::Cluster).await {
                Ok(_) => Step::Done(()),
                Err(error) => Step::NotYet(etcd.told(&format!("does not answer: {error}"))),
            })
        })
        .await?;
        let mut controllers =
            Offspring::start("controllers", Self::controllers(&data, &name, address, &endpoint)?, &data)?;
        let config = data.join("config.yaml");
        fs::write(&config, format!("endpoints: [\"{endpoint}\"]\n"))?;
        self.settle(&store, &name).await?;
        say!("{name} at {address} is a cluster. In another terminal:\n");
        say!("  export EVENKEEL_CONFIG={}", config.display());
        say!("  evenkeel apply -f FILE --wait; evenkeel status\n");
        say!(
            "Ctrl-C ends it{}.",
            if self.keep { ", and containers run on" } else { ", with all that it runs" }
        );
        let ended = until_told(&mut etcd, &mut controllers).await;
        if ended.is_ok() && !self.keep {
            say!("taking everything down");
            take_down(&store, &name).await?;
        }
        controllers.end().await;
        etcd.end().await;
        if ended.is_ok() && !self.keep {
            match data.take_away()? {
                None => say!("nothing is left"),
                Some(others) => say!("nothing is left but what others have put there: {others}"),
            }
        }
        ended
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
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            return Err(Failure::new(format!(
                "something answers at port {} already: another `evenkeel dev`, or etcd of one that was killed (pkill -f \
                 {}); or say another --port",
                self.port,
                self.data.display()
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
        host::joined(store, name).await?;
        if store.list(&prefix::documents(Kind::Network)).await?.kvs.is_empty() {
            let key = Key::Document("Network default".parse::<ObjectRef>().map_err(Failure::new)?);
            store.commit(&TxnBuilder::new().if_absent(&key).put(&key, NETWORK).build()?).await?;
        }
        Ok(())
    }
}

/// Until a person ends it.
///
/// # Errors
/// A child ended by itself.
async fn until_told(etcd: &mut Offspring, controllers: &mut Offspring) -> Result<(), Failure> {
    let (mut interrupt, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = term.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        for child in [&mut *etcd, &mut *controllers] {
            if child.is_over() {
                return Err(child.told("ended by itself"));
            }
        }
    }
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

/// A child, which says what it says into a file.
struct Offspring {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Offspring {
    fn start(name: &'static str, mut command: Command, folder: &Folder) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Ctrl-C is for us: they are needed to take everything down.
        command.process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| {
            Failure::new(format!("{program}: {error}; on Debian, apt-get install etcd-server brings etcd"))
        })?;
        Ok(Self { name, child, log })
    }

    fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn told(&self, what: &str) -> Failure {
        Failure::new(format!("{} {what}; see {}", self.name, self.log.display()))
    }

    /// Ends it gently, and at last not.
    async fn end(mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended =
            poll(ENDS_WITHIN, async || Ok(Step::once(self.is_over(), || Failure::new("it does not end"))));
        if ended.await.is_err() {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        // An error on the way: what was started does not stay.
        if !self.is_over() {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }
}
