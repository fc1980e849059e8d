//! The kernel's own network, by netlink and the firewall's programs. Needs NET_ADMIN and the `nft` program.

mod legacy;
mod links;
mod nft;
mod routes;
mod rules;
mod wakes;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use evenkeel_plan::network::state::{Backend, Chain, FabricAction, FabricState, Table};
use rtnetlink::Handle;
use tokio::sync::Mutex;

use crate::fabric::{Fabric, FabricError, Wakes};

/// The network of the namespace that this process is in.
pub struct LinuxFabric {
    netlink: Handle,
    // What each mark's table looked like right after it was loaded: how a foreign edit is told. Only the
    // kernel's own listing can be compared, since it spells rules its own way.
    loaded: Mutex<BTreeMap<String, String>>,
}

impl fmt::Debug for LinuxFabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinuxFabric")
    }
}

impl LinuxFabric {
    /// Opens the kernel's door; call it inside a tokio runtime.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn new() -> Result<Self, FabricError> {
        let (connection, netlink, _) = rtnetlink::new_connection().map_err(|error| FabricError::Kernel {
            what: "open netlink".to_owned(),
            why: error.to_string(),
        })?;
        tokio::spawn(connection);
        Ok(Self { netlink, loaded: Mutex::default() })
    }

    async fn table(&self) -> Result<Option<Table>, FabricError> {
        let Some(listing) = nft::list(&["table", "inet", evenkeel_plan::network::firewall::TABLE]).await?
        else {
            return Ok(None);
        };
        let mark = rules::mark(&listing).unwrap_or_default();
        let known = self.loaded.lock().await;
        let intact = known.get(&mark).is_some_and(|loaded| *loaded == rules::canonical(&listing));
        Ok(Some(Table { mark, intact }))
    }

    async fn load_table(&self, text: &str, mark: &str) -> Result<(), FabricError> {
        nft::run(text).await?;
        let listing = nft::list(&["table", "inet", evenkeel_plan::network::firewall::TABLE]).await?;
        let mut known = self.loaded.lock().await;
        known.clear();
        // Between the load and the listing somebody may have changed it; then the mark still tells only
        // what was listed, and the next listing after a repair is compared anew.
        if let Some(listing) = listing {
            known.insert(mark.to_owned(), rules::canonical(&listing));
        }
        Ok(())
    }
}

#[async_trait]
impl Fabric for LinuxFabric {
    async fn observe(&self) -> Result<FabricState, FabricError> {
        let indexed = links::links(&self.netlink).await?;
        let (routes, foreign) = routes::routes(&self.netlink, &indexed).await?;
        let engine = match rules::engine().await? {
            found if found.present || !legacy::engine_lives_there().await => found,
            _ => legacy::engine().await?,
        };
        let links = indexed.into_values().collect();
        Ok(FabricState { links, routes, foreign, table: self.table().await?, engine })
    }

    async fn apply(&self, action: &FabricAction) -> Result<(), FabricError> {
        match action {
            FabricAction::LoadTable { text, mark } => self.load_table(text, mark).await,
            FabricAction::DropTable => {
                nft::run("add table inet evenkeel\ndelete table inet evenkeel\n").await
            }
            FabricAction::Accept { chain, pairs } => match backend().await? {
                Backend::Nft => rules::accept(*chain, pairs).await,
                Backend::Legacy => legacy::accept(*chain, pairs).await,
            },
            FabricAction::Jump => match backend().await? {
                Backend::Nft => rules::jump().await,
                Backend::Legacy => legacy::jump().await,
            },
            FabricAction::ProxyArp { bridge } => links::proxy_arp(&self.netlink, bridge).await,
            FabricAction::ProxyDelay { bridge } => links::proxy_delay(&self.netlink, bridge).await,
            FabricAction::PutRoute(route) => routes::put(&self.netlink, route).await,
            FabricAction::DropRoute(route) => routes::remove(&self.netlink, route).await,
        }
    }

    async fn changes(&self) -> Result<Box<dyn Wakes>, FabricError> {
        Ok(Box::new(wakes::KernelWakes::open()?))
    }
}

/// Where the engine's chains live. Asked anew for each change of its rules: they are rare, and the engine
/// may have been set up anew since.
async fn backend() -> Result<Backend, FabricError> {
    let nft = rules::engine().await?;
    Ok(if !nft.present && legacy::engine_lives_there().await { Backend::Legacy } else { Backend::Nft })
}

/// How a chain is called: table and chain.
fn chain_name(chain: Chain) -> (&'static str, &'static str) {
    match chain {
        Chain::Forward => ("filter", "DOCKER-USER"),
        Chain::Raw => ("raw", "PREROUTING"),
    }
}

/// An error of the kernel, with its number worded.
fn kernel(what: impl Into<String>, error: &rtnetlink::Error) -> FabricError {
    let why = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    };
    FabricError::Kernel { what: what.into(), why }
}

/// The kernel's error number, where it gave one.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}
