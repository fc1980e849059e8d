//! Where names are served, and where others' names are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use evenkeel_names::forward::Forwarder;
use evenkeel_names::handover::Sockets;
use evenkeel_names::resolv;
use evenkeel_names::server::{Server, Serving};
use evenkeel_runtime::env::Env;
use tokio::sync::watch;

/// The addresses that are served.
pub(super) struct Listening {
    sockets: Sockets,
    served: BTreeMap<SocketAddrV4, Serving>,
    failed: BTreeSet<SocketAddrV4>,
    /// What the parent was last told to keep.
    kept: Option<BTreeSet<SocketAddrV4>>,
}

impl Listening {
    /// Nowhere yet.
    pub(super) fn new(sockets: Sockets) -> Self {
        Self { sockets, served: BTreeMap::new(), failed: BTreeSet::new(), kept: None }
    }

    /// Serve exactly `wanted`. `sure`: what else a parent may hold is wanted by nobody. `false`: something
    /// failed, and is to be tried again.
    pub(super) fn serve(
        &mut self,
        server: &Server,
        env: &Env,
        wanted: &BTreeSet<SocketAddrV4>,
        sure: bool,
    ) -> bool {
        if let Sockets::Nowhere(asked) = &self.sockets {
            asked.get_or_init(|| server.clone());
            return true;
        }
        self.served.retain(|address, _| wanted.contains(address));
        self.failed.retain(|address| wanted.contains(address));
        for address in wanted {
            if self.served.contains_key(address) {
                continue;
            }
            match self.one(server, env, *address) {
                Ok(serving) => {
                    tracing::info!(%address, "names are served");
                    self.failed.remove(address);
                    self.served.insert(*address, serving);
                }
                Err(error) => {
                    if self.failed.insert(*address) {
                        tracing::warn!(%address, error = &*error, "names are not served");
                    }
                }
            }
        }
        if sure && self.kept.as_ref() != Some(wanted) {
            match self.sockets.keep(wanted) {
                Ok(()) => self.kept = Some(wanted.clone()),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "sockets are not given back");
                    return false;
                }
            }
        }
        self.failed.is_empty()
    }

    fn one(
        &self,
        server: &Server,
        env: &Env,
        address: SocketAddrV4,
    ) -> Result<Serving, Box<dyn std::error::Error>> {
        Ok(server.serve(self.sockets.get(address)?, env.random())?)
    }
}

/// Keeps the forwarder on the host's resolvers. `own`: addresses of our name servers, never to be asked.
pub(super) async fn resolvers(
    mut file: resolv::File,
    forwarder: Arc<Forwarder>,
    mut own: watch::Receiver<Arc<BTreeSet<Ipv4Addr>>>,
) -> Infallible {
    let mut servers = Vec::new();
    loop {
        if let Some(read) = file.read() {
            tracing::info!(resolvers = ?read, "names outside");
            servers = read;
        }
        let never = own.borrow_and_update().clone();
        forwarder.set(&servers, |address| matches!(address, IpAddr::V4(address) if never.contains(&address)));
        tokio::select! {
            biased;
            // Cancel-safe: nothing is taken before it is ready.
            Ok(()) = own.changed() => {}
            () = tokio::time::sleep(resolv::PERIOD) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use evenkeel_names::handover::{Holder, Pair};
    use evenkeel_plan::dns::Zone;
    use evenkeel_runtime::env::SystemClock;

    use super::*;

    #[test]
    fn what_a_parent_holds_is_given_back_once_it_is_sure_that_nobody_wants_it() {
        let (parent, worker) = Holder::line().unwrap();
        std::thread::spawn(move || {
            let mut holder = Holder::new();
            while holder.serve(parent.as_fd()) {}
        });
        let sockets = Sockets::Parent(worker);
        // An address that is not there.
        let address = "192.0.2.77:5398".parse().unwrap();
        drop(sockets.get(address).unwrap());
        let server = Server::new(Zone::default(), Forwarder::new());
        let env = Env::new(SystemClock, 7);
        let mut listening = Listening::new(sockets);
        for (sure, is_free) in [(false, false), (true, true)] {
            assert!(listening.serve(&server, &env, &BTreeSet::new(), sure));
            assert_eq!(Pair::bind(address).is_ok(), is_free, "sure: {sure}");
        }
    }
}
