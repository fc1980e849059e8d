//! A private etcd: the packaged server as a child of the test, on ports of its own, gone with its handle.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_etcd::{EtcdConfig, EtcdStore, EtcdTls};
use evenkeel_runtime::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a member may take to answer after its start.
const START: Duration = Duration::from_secs(20);

/// One etcd of one member.
pub struct PrivateEtcd {
    folder: TempDir,
    client: u16,
    peer: u16,
    flags: Vec<String>,
    tls: Option<EtcdTls>,
    child: Child,
}

impl PrivateEtcd {
    /// Start it, with further `flags`, and wait until it answers.
    ///
    /// # Panics
    /// There is no etcd server on this machine, or it does not start.
    pub async fn start(flags: &[&str]) -> Self {
        Self::begin(flags, None).await
    }

    /// The same for clients with certificates alone, of which `tls` is one.
    ///
    /// # Panics
    /// There is no etcd server on this machine, or it does not start.
    pub async fn start_secured(flags: &[&str], tls: EtcdTls) -> Self {
        Self::begin(flags, Some(tls)).await
    }

    async fn begin(flags: &[&str], tls: Option<EtcdTls>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for etcd");
        let (client, peer) = (free_port(), free_port());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        let child = spawn(&folder, &client_url(client, &tls), peer, &flags);
        let etcd = Self { folder, client, peer, flags, tls, child };
        etcd.wait().await;
        etcd
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        client_url(self.client, &self.tls)
    }

    /// Stop its process as it is: connections stay, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Let it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kill it. Its data stays.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ended = self.child.wait();
    }

    /// Lose all its data, after [`PrivateEtcd::kill`]; it will call itself the same cluster.
    ///
    /// # Panics
    /// The data cannot be removed.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("etcd's data to be removed");
    }

    /// Start it again after [`PrivateEtcd::kill`], with its data and on its ports.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.endpoint(), self.peer, &self.flags);
        self.wait().await;
    }

    /// Let `etcdctl` do something.
    ///
    /// # Panics
    /// It fails.
    pub fn ctl(&self, arguments: &[&str]) {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output()
            .expect("etcdctl is to be had: run hack/install");
        assert!(done.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    async fn wait(&self) {
        // It listens long before it serves, so only an answer counts.
        let store =
            EtcdStore::new(&EtcdConfig { tls: self.tls.clone(), ..EtcdConfig::new([self.endpoint()]) })
                .expect("a good configuration");
        let reached = async {
            while store.get(&Key::Cluster).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(tokio::time::timeout(START, reached).await.is_ok(), "etcd does not start: {}", log());
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for PrivateEtcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn client_url(port: u16, tls: &Option<EtcdTls>) -> String {
    format!("{}://127.0.0.1:{port}", if tls.is_some() { "https" } else { "http" })
}

fn spawn(folder: &TempDir, client: &str, peer: u16, flags: &[String]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log"));
    let peer = format!("http://127.0.0.1:{peer}");
    Command::new("etcd")
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--name", "private", "--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("private={peer}")])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
        .expect("the etcd server is to be had: run hack/install")
}

/// A port on 127.0.0.1 where nobody listens now.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}
