//! Routes: ours, told by their protocol number, and everybody else's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use evenkeel_api::network::Cidr;
use evenkeel_plan::network::state::{ForeignRoute, ROUTE_PROTOCOL, Route};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::links::{Indexed, name_of};
use super::{errno, kernel};
use crate::fabric::FabricError;

const ESRCH: i32 = 3;

/// Our routes, and all others of the main table.
pub async fn routes(
    netlink: &Handle,
    links: &Indexed,
) -> Result<(BTreeSet<Route>, Vec<ForeignRoute>), FabricError> {
    let (mut ours, mut foreign) = (BTreeSet::new(), Vec::new());
    let mut found = netlink.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(message) = found.try_next().await.map_err(|e| kernel("list routes", &e))? {
        if table(&message) != u32::from(RouteHeader::RT_TABLE_MAIN) {
            continue;
        }
        let to = Cidr::new(destination(&message), message.header.destination_prefix_length);
        let mine = message.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL);
        match (mine, gateway(&message), source(&message)) {
            (true, Some(via), Some(src)) if message.header.kind == RouteType::Unicast => {
                ours.insert(Route { to, via, src });
            }
            // One of ours that somebody bent: as a route without source it is put right like any other.
            (true, via, src) => {
                let none = Ipv4Addr::UNSPECIFIED;
                ours.insert(Route { to, via: via.unwrap_or(none), src: src.unwrap_or(none) });
            }
            (false, ..) => foreign.push(ForeignRoute { to, link: device(&message, links) }),
        }
    }
    foreign.sort();
    Ok((ours, foreign))
}

fn table(message: &RouteMessage) -> u32 {
    let long = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or(u32::from(message.header.table))
}

fn v4(address: &RouteAddress) -> Option<Ipv4Addr> {
    match address {
        RouteAddress::Inet(address) => Some(*address),
        _ => None,
    }
}

fn destination(message: &RouteMessage) -> Ipv4Addr {
    let found = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(address) => v4(address),
        _ => None,
    });
    found.unwrap_or(Ipv4Addr::UNSPECIFIED)
}

fn gateway(message: &RouteMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(address) => v4(address),
        _ => None,
    })
}

fn source(message: &RouteMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|a| match a {
        RouteAttribute::PrefSource(address) => v4(address),
        _ => None,
    })
}

fn device(message: &RouteMessage, links: &Indexed) -> String {
    let index = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    index.map(|index| name_of(links, index)).unwrap_or_default()
}

/// Make a route, or replace the one that leads there now.
pub async fn put(netlink: &Handle, route: &Route) -> Result<(), FabricError> {
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.to.network(), route.to.prefix())
        .gateway(route.via)
        .pref_source(route.src)
        .protocol(RouteProtocol::from(ROUTE_PROTOCOL))
        .build();
    let result = netlink.route().add(message).replace().execute().await;
    result.map_err(|e| kernel(format!("put route {route}"), &e))
}

/// Remove a route; one that is not there is gone.
pub async fn remove(netlink: &Handle, route: &Route) -> Result<(), FabricError> {
    // Without gateway and source: also one that was bent goes. The protocol keeps all others.
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.to.network(), route.to.prefix())
        .protocol(RouteProtocol::from(ROUTE_PROTOCOL))
        .scope(rtnetlink::packet_route::route::RouteScope::NoWhere)
        .kind(RouteType::Unspec)
        .build();
    match netlink.route().del(message).execute().await {
        Err(error) if errno(&error) != Some(ESRCH) => Err(kernel(format!("remove route {route}"), &error)),
        _ => Ok(()),
    }
}
