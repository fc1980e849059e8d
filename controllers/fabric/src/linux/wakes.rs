//! The kernel's own notifications: devices, addresses, routes, and firewall rules.

use async_trait::async_trait;
use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::mpsc;

use crate::fabric::{FabricError, Wakes};

/// The firewall's own netlink family, and its group for changes of rules.
const NETFILTER: isize = 12;
const GROUP_RULES: u32 = 7;

/// Both sockets, read in tasks that end with this value.
pub struct KernelWakes {
    woken: mpsc::Receiver<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for KernelWakes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl KernelWakes {
    /// Listen from now on.
    pub fn open() -> Result<Self, FabricError> {
        let fail = |what: &str, error: std::io::Error| FabricError::Kernel {
            what: what.to_owned(),
            why: error.to_string(),
        };
        // One wake waiting is enough: whoever is woken looks at everything.
        let (wake, woken) = mpsc::channel(1);
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
        let (connection, _handle, mut messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|e| fail("listen to devices and routes", e))?;
        let connection = tokio::spawn(connection);
        let links = wake.clone();
        let links = tokio::spawn(async move {
            let _handle = _handle;
            while let Some((message, _)) = messages.next().await {
                if matters(&message) {
                    let _ = links.try_send(());
                }
            }
        });
        let mut socket = TokioSocket::new(NETFILTER).map_err(|e| fail("listen to firewall rules", e))?;
        let raw = socket.socket_mut();
        raw.bind(&SocketAddr::new(0, 0)).map_err(|e| fail("listen to firewall rules", e))?;
        raw.add_membership(GROUP_RULES).map_err(|e| fail("listen to firewall rules", e))?;
        let rules = tokio::spawn(async move {
            loop {
                // An overrun is a wake as well: something happened, and a lot of it.
                let read = socket.recv_from_full().await;
                let _ = wake.try_send(());
                if read.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        });
        Ok(Self { woken, tasks: vec![connection, links, rules] })
    }
}

/// Containers come and go, and each has a pair of devices that no rule and no route of ours names: to look
/// at everything for each of their steps would take the processor from the engine that makes them.
fn matters(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)) =
        &message.payload
    else {
        return true;
    };
    !link
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::IfName(name) if name.starts_with("veth")))
}

#[async_trait]
impl Wakes for KernelWakes {
    async fn next(&mut self) {
        if self.woken.recv().await.is_none() {
            // Both tasks are gone; looking from time to time goes on without us.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::LinkMessage;

    use super::*;

    #[test]
    fn only_the_devices_of_containers_do_not_matter() {
        for (name, expected) in [("veth1a2b3c", false), ("ek-lan", true), ("eth0", true)] {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.to_owned()));
            for message in
                [RouteNetlinkMessage::NewLink(link.clone()), RouteNetlinkMessage::DelLink(link.clone())]
            {
                assert_eq!(matters(&NetlinkMessage::from(message)), expected, "{name}");
            }
        }
    }
}
