//! What the kernel says of its addresses and routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use evenkeel_api::network::Cidr;
use evenkeel_plan::host::facts::{self, DeviceAddress, Route};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The kernel does not tell.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is no netlink socket to be had.
    #[error("no netlink socket")]
    Socket(#[source] std::io::Error),
    /// The kernel refused to list.
    #[error("the kernel does not list its {what}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: rtnetlink::Error,
    },
}

/// A machine that can be looked at.
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {
    /// Its IPv4 addresses and routes.
    ///
    /// # Errors
    /// The kernel does not tell.
    async fn observe(&self) -> Result<facts::Machine, MachineError>;
}

/// This machine, by netlink; reads only, and needs no rights.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

#[async_trait]
impl Machine for Linux {
    async fn observe(&self) -> Result<facts::Machine, MachineError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(MachineError::Socket)?;
        let connection = tokio::spawn(connection);
        let observed = observe(&handle).await;
        connection.abort();
        observed
    }
}

async fn observe(handle: &Handle) -> Result<facts::Machine, MachineError> {
    let list = |what| move |source| MachineError::List { what, source };
    let links: Vec<_> = handle.link().get().execute().try_collect().await.map_err(list("devices"))?;
    let name = |index: u32| {
        let link = links.iter().find(|link| link.header.index == index)?;
        link.attributes
            .iter()
            .find_map(|a| if let LinkAttribute::IfName(name) = a { Some(name.clone()) } else { None })
    };
    let addresses: Vec<_> =
        handle.address().get().execute().try_collect().await.map_err(list("addresses"))?;
    let addresses = addresses.iter().filter_map(|message| {
        let of = |attribute: &AddressAttribute| match attribute {
            // The local one; on point-to-point devices `Address` is the other end's.
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        };
        let address = message.attributes.iter().find_map(of)?;
        let device = name(message.header.index).unwrap_or_default();
        Some(DeviceAddress { device, address, prefix: message.header.prefix_len })
    });
    let addresses = addresses.collect();
    let of_v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<_> = handle.route().get(of_v4).execute().try_collect().await.map_err(list("routes"))?;
    let routes = routes.iter().filter_map(|message| route(message, &name)).collect();
    Ok(facts::Machine { addresses, routes })
}

/// A route of the main table that leads somewhere; `None` for all others.
fn route(message: &RouteMessage, name: &impl Fn(u32) -> Option<String>) -> Option<Route> {
    let header = &message.header;
    let table = message
        .attributes
        .iter()
        .find_map(|a| if let RouteAttribute::Table(t) = a { Some(*t) } else { None });
    if header.kind != RouteType::Unicast
        || table.unwrap_or(u32::from(header.table)) != u32::from(RouteHeader::RT_TABLE_MAIN)
    {
        return None;
    }
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let device = message
        .attributes
        .iter()
        .find_map(|a| if let RouteAttribute::Oif(index) = a { name(*index) } else { None });
    Some(Route {
        // A default route has no destination.
        destination: Cidr::new(
            destination.unwrap_or(Ipv4Addr::UNSPECIFIED),
            header.destination_prefix_length,
        ),
        device: device.unwrap_or_default(),
        protocol: u8::from(header.protocol),
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteProtocol;

    use super::*;

    #[test]
    fn routes_of_the_main_table_that_lead_somewhere_are_told() {
        let message = |kind, table, length, attributes: &[RouteAttribute]| {
            let mut message = RouteMessage::default();
            (message.header.kind, message.header.table) = (kind, table);
            (message.header.protocol, message.header.destination_prefix_length) =
                (RouteProtocol::from(212), length);
            message.attributes = attributes.to_vec();
            message
        };
        let (main, unicast) = (RouteHeader::RT_TABLE_MAIN, RouteType::Unicast);
        let to = RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(10, 88, 2, 0)));
        let (by, in_table) = (RouteAttribute::Oif(3), RouteAttribute::Table);
        let told = |destination: &str, device: &str| {
            Some(Route {
                destination: destination.parse().unwrap(),
                device: device.to_owned(),
                protocol: 212,
            })
        };
        let table = [
            (message(unicast, main, 24, &[to.clone(), by.clone()]), told("10.88.2.0/24", "eth3")),
            (message(unicast, main, 0, std::slice::from_ref(&by)), told("0.0.0.0/0", "eth3")),
            (message(unicast, main, 24, std::slice::from_ref(&to)), told("10.88.2.0/24", "")),
            // Numbers that do not fit into the header stand in an attribute.
            (message(unicast, 0, 24, &[to.clone(), in_table(254)]), told("10.88.2.0/24", "")),
            (message(unicast, main, 24, &[to.clone(), in_table(1000)]), None),
            (message(unicast, 255, 24, std::slice::from_ref(&to)), None),
            (message(RouteType::BlackHole, main, 24, std::slice::from_ref(&to)), None),
            (message(RouteType::Local, 255, 24, &[to, by]), None),
        ];
        for (message, expected) in table {
            assert_eq!(route(&message, &|index| Some(format!("eth{index}"))), expected, "{message:?}");
        }
    }

    #[tokio::test]
    async fn this_machine_has_a_loopback_address() {
        let machine = Linux.observe().await.unwrap();
        let lo = machine.addresses.iter().find(|a| a.address == Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!((lo.device.as_str(), lo.prefix), ("lo", 8));
    }
}
