//! Devices, their addresses, and how bridges answer ARP.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_plan::network::state::Link;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour_table::{
    NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage, address::AddressAttribute};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};

use super::kernel;
use crate::fabric::FabricError;

/// The kernel's table of IPv4 neighbours.
const ARP_CACHE: &str = "arp_cache";

/// All devices by index, with their names.
pub type Indexed = BTreeMap<u32, (String, Link)>;

/// All devices.
pub async fn links(netlink: &Handle) -> Result<Indexed, FabricError> {
    let mut links = Indexed::new();
    let mut found = netlink.link().get().execute();
    while let Some(message) = found.try_next().await.map_err(|e| kernel("list devices", &e))? {
        links.insert(message.header.index, link(&message));
    }
    let mut found = netlink.address().get().execute();
    while let Some(message) = found.try_next().await.map_err(|e| kernel("list addresses", &e))? {
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let (Some(address), Some((_, link))) = (local, links.get_mut(&message.header.index)) {
            link.addresses.insert((address, message.header.prefix_len));
        }
    }
    for (index, delay) in proxy_delays(netlink).await? {
        if let Some((_, link)) = links.get_mut(&index) {
            link.proxy_delay = delay;
        }
    }
    Ok(links)
}

fn link(message: &LinkMessage) -> (String, Link) {
    let mut name = String::new();
    let mut link = Link::default();
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name.clone_from(text),
            LinkAttribute::LinkInfo(info) => {
                link.bridge = info.iter().any(|i| matches!(i, LinkInfo::Kind(InfoKind::Bridge)));
            }
            LinkAttribute::AfSpecUnspec(families) => link.proxy_arp = proxies_arp(families),
            _ => {}
        }
    }
    (name, link)
}

fn proxies_arp(families: &[AfSpecUnspec]) -> bool {
    let inet = families.iter().find_map(|f| match f {
        AfSpecUnspec::Inet(inet) => Some(inet),
        _ => None,
    });
    inet.into_iter().flatten().any(|i| matches!(i, AfSpecInet::DevConf(conf) if conf.proxy_arp != 0))
}

fn inet() -> NeighbourTableMessage {
    let mut message = NeighbourTableMessage::default();
    message.header.family = AddressFamily::Inet;
    message
}

/// How long each device waits before it answers for others, in milliseconds.
async fn proxy_delays(netlink: &Handle) -> Result<BTreeMap<u32, u64>, FabricError> {
    let what = "list neighbour tables";
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbourTable(inet()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut answers = netlink.clone().request(request).map_err(|e| kernel(what, &e))?;
    let mut delays = BTreeMap::new();
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbourTable(table)) => {
                delays.extend(delay_of(&table));
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(kernel(what, &rtnetlink::Error::NetlinkError(error)));
            }
            _ => {}
        }
    }
    Ok(delays)
}

fn delay_of(table: &NeighbourTableMessage) -> Option<(u32, u64)> {
    let is_arp =
        |a: &NeighbourTableAttribute| matches!(a, NeighbourTableAttribute::Name(n) if n == ARP_CACHE);
    if !table.attributes.iter().any(is_arp) {
        return None;
    }
    let parameters = table.attributes.iter().find_map(|a| match a {
        NeighbourTableAttribute::Parms(parameters) => Some(parameters),
        _ => None,
    })?;
    let index = parameters.iter().find_map(|p| match p {
        NeighbourTableParameter::Ifindex(index) => Some(*index),
        _ => None,
    })?;
    let delay = parameters.iter().find_map(|p| match p {
        NeighbourTableParameter::ProxyDelay(delay) => Some(*delay),
        _ => None,
    })?;
    Some((index, delay))
}

async fn index(netlink: &Handle, name: &str) -> Result<u32, FabricError> {
    let mut found = netlink.link().get().match_name(name.to_owned()).execute();
    let what = format!("find device {name}");
    match found.try_next().await.map_err(|e| kernel(&what, &e))? {
        Some(message) => Ok(message.header.index),
        None => Err(FabricError::Kernel { what, why: "there is none".to_owned() }),
    }
}

/// Answer ARP on `bridge` for all that this host has routes to. By netlink, since `/proc/sys` is read-only
/// in a container.
pub async fn proxy_arp(netlink: &Handle, bridge: &str) -> Result<(), FabricError> {
    let index = index(netlink, bridge).await?;
    let mut conf = InetDevConf::default();
    conf.proxy_arp = 1;
    let family = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
    let mut message = LinkMessageBuilder::<LinkUnspec>::new().index(index).build();
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![family]));
    let what = format!("switch proxy ARP on for {bridge}");
    netlink.link().set(message).execute().await.map_err(|e| kernel(what, &e))
}

/// Answer at once. By default the kernel waits up to 0.8 s, which every first packet would pay.
pub async fn proxy_delay(netlink: &Handle, bridge: &str) -> Result<(), FabricError> {
    let index = index(netlink, bridge).await?;
    let mut message = inet();
    message.attributes = vec![
        NeighbourTableAttribute::Name(ARP_CACHE.to_owned()),
        NeighbourTableAttribute::Parms(vec![
            NeighbourTableParameter::Ifindex(index),
            NeighbourTableParameter::ProxyDelay(0),
        ]),
    ];
    let what = format!("switch the proxy delay off for {bridge}");
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetNeighbourTable(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers = netlink.clone().request(request).map_err(|e| kernel(&what, &e))?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(kernel(what, &rtnetlink::Error::NetlinkError(error)));
        }
    }
    Ok(())
}

/// What a device is called; empty where it is gone already.
pub fn name_of(links: &Indexed, index: u32) -> String {
    links.get(&index).map(|(name, _)| name.clone()).unwrap_or_default()
}
