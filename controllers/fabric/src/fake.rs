//! A host's network in memory: what the kernel would show after each action.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use evenkeel_api::network::Cidr;
use evenkeel_plan::network::state::{Chain, FabricAction, FabricState, ForeignRoute, Jump, Link, Table};
use tokio::sync::watch;

use crate::fabric::{Fabric, FabricError, Wakes};

/// The kernel's default, in milliseconds.
const PROXY_DELAY: u64 = 800;

/// A bridge that an engine keeps: name, address, prefix length.
pub type Bridge = (String, Ipv4Addr, u8);
/// The bridges that an engine keeps now; `None`: it does not tell.
type Bridges = dyn Fn() -> Option<Vec<Bridge>> + Send + Sync;

/// The twin of [`crate::LinuxFabric`]. Clones share one host.
#[derive(Clone)]
pub struct FakeFabric {
    state: Arc<Mutex<FabricState>>,
    changed: Arc<watch::Sender<u64>>,
    engine: Option<Arc<Bridges>>,
}

impl fmt::Debug for FakeFabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeFabric").field("state", &*self.lock()).finish()
    }
}

impl Default for FakeFabric {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeFabric {
    /// A host with an engine's chains, and nothing else.
    pub fn new() -> Self {
        let state = Self::booted();
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(watch::channel(0).0), engine: None }
    }

    /// With the bridges of a fake engine, which come and go with its networks, as a real engine's do.
    #[must_use]
    pub fn with_bridges(mut self, bridges: impl Fn() -> Option<Vec<Bridge>> + Send + Sync + 'static) -> Self {
        self.engine = Some(Arc::new(bridges));
        self
    }

    /// Take over what the engine did since the last look.
    fn follow(&self) {
        let Some(bridges) = self.engine.as_ref().and_then(|bridges| bridges()) else { return };
        // A network that was made anew between two looks has its name again, and another address.
        let is_same = |name: &str, link: &Link, bridge: &Bridge| {
            bridge.0 == name && link.addresses.contains(&(bridge.1, bridge.2))
        };
        let links = self.lock().links.clone();
        for (name, link) in &links {
            if link.bridge && !bridges.iter().any(|bridge| is_same(name, link, bridge)) {
                self.remove_link(name);
            }
        }
        let is_there =
            |bridge: &Bridge| links.get(&bridge.0).is_some_and(|link| is_same(&bridge.0, link, bridge));
        for bridge in bridges.iter().filter(|bridge| !is_there(bridge)) {
            self.add_link(&bridge.0, true, bridge.1, bridge.2);
        }
    }

    fn lock(&self) -> MutexGuard<'_, FabricState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change anything, as a person or a reboot would; wakes whoever listens.
    pub fn edit(&self, change: impl FnOnce(&mut FabricState)) {
        change(&mut self.lock());
        self.changed.send_modify(|n| *n += 1);
    }

    /// A device with an address, and the route that the kernel makes for it.
    pub fn add_link(&self, name: &str, bridge: bool, address: Ipv4Addr, prefix: u8) {
        self.edit(|state| {
            let addresses = [(address, prefix)].into();
            state.links.insert(
                name.to_owned(),
                Link { bridge, addresses, proxy_arp: false, proxy_delay: PROXY_DELAY },
            );
            let to = Cidr::new(address, prefix);
            state.foreign.push(ForeignRoute { to, link: name.to_owned() });
        });
    }

    /// Remove a device, with its routes and those of ours that have its address as source.
    pub fn remove_link(&self, name: &str) {
        self.edit(|state| {
            let Some(link) = state.links.remove(name) else { return };
            state.foreign.retain(|route| route.link != name);
            let gone: BTreeMap<Ipv4Addr, u8> = link.addresses.into_iter().collect();
            state.routes.retain(|route| !gone.contains_key(&route.src));
        });
    }

    /// `nft flush ruleset`.
    pub fn flush(&self) {
        self.edit(|state| {
            state.table = None;
            state.engine = evenkeel_plan::network::state::EngineRules {
                forward: evenkeel_plan::network::state::Accepts { first: true, ..Default::default() },
                raw: evenkeel_plan::network::state::Accepts { first: true, ..Default::default() },
                ..Default::default()
            };
        });
    }

    /// The machine has booted: only what an engine sets up is there.
    pub fn reboot(&self) {
        self.edit(|state| {
            *state = FabricState { links: std::mem::take(&mut state.links), ..Self::booted() };
            state.links.retain(|_, link| !link.bridge);
            state.foreign = (state.links.iter())
                .flat_map(|(name, link)| link.addresses.iter().map(move |of| (name, of)))
                .map(|(name, (address, prefix))| ForeignRoute {
                    to: Cidr::new(*address, *prefix),
                    link: name.clone(),
                })
                .collect();
        });
    }

    fn booted() -> FabricState {
        let mut state = FabricState::default();
        state.engine.present = true;
        state.engine.forward.first = true;
        state.engine.raw.first = true;
        state
    }

    /// How it is now.
    pub fn state(&self) -> FabricState {
        self.lock().clone()
    }

    fn change(state: &mut FabricState, action: &FabricAction) -> Result<(), FabricError> {
        let refuse = |what: String, why: &str| FabricError::Kernel { what, why: why.to_owned() };
        match action {
            FabricAction::LoadTable { mark, .. } => {
                state.table = Some(Table { mark: mark.clone(), intact: true });
            }
            FabricAction::DropTable => state.table = None,
            FabricAction::Accept { chain, pairs } => {
                let accepts = match chain {
                    Chain::Forward => &mut state.engine.forward,
                    Chain::Raw => &mut state.engine.raw,
                };
                accepts.pairs.clone_from(pairs);
                accepts.first = true;
            }
            FabricAction::Jump => state.engine.jump = Jump::Fine,
            FabricAction::ProxyArp { bridge } | FabricAction::ProxyDelay { bridge } => {
                let Some(link) = state.links.get_mut(bridge) else {
                    return Err(refuse(format!("find device {bridge}"), "there is none"));
                };
                match action {
                    FabricAction::ProxyArp { .. } => link.proxy_arp = true,
                    _ => link.proxy_delay = 0,
                }
            }
            FabricAction::PutRoute(route) => {
                let mut addresses = state.links.values().flat_map(|link| &link.addresses);
                if !addresses.any(|(address, _)| *address == route.src) {
                    return Err(refuse(format!("put route {route}"), "Invalid argument (os error 22)"));
                }
                state.routes.retain(|other| other.to != route.to);
                state.routes.insert(*route);
            }
            FabricAction::DropRoute(route) => state.routes.retain(|other| other.to != route.to),
        }
        Ok(())
    }
}

#[async_trait]
impl Fabric for FakeFabric {
    async fn observe(&self) -> Result<FabricState, FabricError> {
        self.follow();
        Ok(self.state())
    }

    async fn apply(&self, action: &FabricAction) -> Result<(), FabricError> {
        self.follow();
        let result = Self::change(&mut self.lock(), action);
        if result.is_ok() {
            self.changed.send_modify(|n| *n += 1);
        }
        result
    }

    async fn changes(&self) -> Result<Box<dyn Wakes>, FabricError> {
        Ok(Box::new(FakeWakes(self.changed.subscribe())))
    }
}

struct FakeWakes(watch::Receiver<u64>);

#[async_trait]
impl Wakes for FakeWakes {
    async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
