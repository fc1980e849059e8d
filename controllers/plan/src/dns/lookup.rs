//! What a query gets: no allocation, no lock, no I/O.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use evenkeel_api::name::NetworkName;
use evenkeel_api::service::Protocol;

use super::build::{Domain, Name, Target, View, Zone};

/// The kinds of record that a zone holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Addresses.
    A,
    /// Ports with the names of copies.
    Srv,
    /// The name of an address.
    Ptr,
    /// The domain's own record.
    Soa,
    /// Texts.
    Txt,
    /// Whatever there is.
    Any,
    /// Something that no name here has.
    Other,
}

/// What the zone says. `zone` is the domain that says so, for the SOA of an answer without records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// Not ours to answer.
    Foreign,
    /// Ours, but what it is has never been learnt.
    Unknown,
    /// There is no such name.
    NoName {
        /// The domain.
        zone: Origin<'a>,
    },
    /// There is the name, but without such records.
    NoData {
        /// The domain.
        zone: Origin<'a>,
    },
    /// Addresses: at least one.
    Addresses {
        /// Seconds.
        ttl: u32,
        /// In no order that means anything.
        addresses: &'a [Ipv4Addr],
    },
    /// Ports: at least one.
    Targets {
        /// Seconds.
        ttl: u32,
        /// What the targets' names end in.
        domain: &'a str,
        /// In no order that means anything.
        targets: &'a [Target],
    },
    /// The name of an address, in full.
    Pointer {
        /// Seconds.
        ttl: u32,
        /// The name.
        name: &'a str,
    },
    /// Texts: at least one.
    Texts {
        /// Seconds.
        ttl: u32,
        /// A line each.
        lines: &'a [Arc<str>],
    },
    /// The SOA of the domain.
    Soa {
        /// The domain.
        zone: Origin<'a>,
    },
}

/// A domain that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// One of the networks' domains.
    Domain(&'a str),
    /// The reverse domain of an address block: its first `octets` octets.
    Reverse {
        /// An address in it.
        address: Ipv4Addr,
        /// 0 to 4.
        octets: u8,
    },
}

/// How far a walk down a domain got.
enum Walk<'a> {
    /// A name that only has names below it.
    Between,
    Host(&'a Ipv4Addr),
    Views(&'a [View]),
    Ports(&'a Name, (Protocol, &'a str)),
    Why(&'a [Arc<str>]),
}

/// The label below a name that asks why it leads where it leads. A slot of that name comes first.
const WHY: &str = "why";

impl Zone {
    /// What it says of the name `labels` (lower case, leftmost first) to `asker`.
    pub fn lookup<'a>(&'a self, labels: &[&'a str], wanted: Wanted, asker: IpAddr) -> Found<'a> {
        if let [rest @ .., "in-addr", "arpa"] = labels {
            return self.reverse(rest, wanted);
        }
        let mut first = None;
        for domain in &self.domains {
            let Some(rest) = below(labels, domain) else { continue };
            if !self.complete {
                return Found::Unknown;
            }
            match self.walk(domain, rest) {
                // Perhaps a shorter domain has it: `web.shop.internal` is no name of `shop.internal`.
                None => first = first.or(Some(domain)),
                Some(found) => return self.answer(domain, rest.is_empty(), found, wanted, asker),
            }
        }
        match first {
            Some(domain) => Found::NoName { zone: Origin::Domain(&domain.name) },
            None => Found::Foreign,
        }
    }

    /// `None`: there is no such name.
    fn walk<'a>(&'a self, domain: &'a Domain, rest: &[&'a str]) -> Option<Walk<'a>> {
        let name = |service: &str, namespace: &str| {
            let name = self.names.get(namespace)?.get(service)?;
            let here = name.domains.as_ref().is_none_or(|domains| domains.contains(&domain.name));
            here.then_some(name)
        };
        match rest {
            [] | ["node"] => Some(Walk::Between),
            [namespace] => self.names.contains_key(*namespace).then_some(Walk::Between),
            [host, "node"] => self.hosts.get(*host).map(Walk::Host),
            [service, namespace] => name(service, namespace).map(|name| Walk::Views(&name.views)),
            [label, service, namespace] => name(service, namespace).and_then(|name| match protocol(label) {
                Some(wanted) => {
                    let mut ports = name.views.iter().flat_map(|view| view.targets.keys());
                    ports.any(|(protocol, _)| *protocol == wanted).then_some(Walk::Between)
                }
                None => match name.slots.get(*label) {
                    Some(views) => Some(Walk::Views(views)),
                    None => (*label == WHY).then_some(Walk::Why(&name.why)),
                },
            }),
            [port, label, service, namespace] => {
                let key = protocol(label).zip(port.strip_prefix('_'));
                let name = name(service, namespace);
                name.zip(key).and_then(|(name, (protocol, port))| {
                    let mut ports = name.views.iter().flat_map(|view| view.targets.keys());
                    let there = ports.any(|(its, name)| *its == protocol && name == port);
                    there.then_some(Walk::Ports(name, (protocol, port)))
                })
            }
            _ => None,
        }
    }

    fn answer<'a>(
        &'a self,
        domain: &'a Domain,
        apex: bool,
        found: Walk<'a>,
        wanted: Wanted,
        asker: IpAddr,
    ) -> Found<'a> {
        let zone = Origin::Domain(&domain.name);
        match (found, wanted) {
            (Walk::Between, Wanted::Soa | Wanted::Any) if apex => Found::Soa { zone },
            (Walk::Host(address), Wanted::A | Wanted::Any) => {
                Found::Addresses { ttl: domain.ttl, addresses: std::slice::from_ref(address) }
            }
            (Walk::Views(views), Wanted::A | Wanted::Any) => {
                match self.pick(views, asker, |view| !view.addresses.is_empty()) {
                    Some(view) => {
                        Found::Addresses { ttl: view.ttl.unwrap_or(domain.ttl), addresses: &view.addresses }
                    }
                    None => Found::NoData { zone },
                }
            }
            (Walk::Ports(name, (protocol, port)), Wanted::Srv | Wanted::Any) => {
                let targets = |view: &'a View| {
                    let mut ports = view.targets.iter();
                    ports.find(|((its, name), _)| *its == protocol && name == port).map(|(_, found)| found)
                };
                match self.pick(&name.views, asker, |view| targets(view).is_some()) {
                    Some(view) => Found::Targets {
                        ttl: view.ttl.unwrap_or(domain.ttl),
                        domain: &domain.name,
                        targets: targets(view).map_or(&[], Vec::as_slice),
                    },
                    None => Found::NoData { zone },
                }
            }
            (Walk::Why(lines @ [_, ..]), Wanted::Txt | Wanted::Any) => {
                Found::Texts { ttl: domain.ttl, lines }
            }
            _ => Found::NoData { zone },
        }
    }

    /// The view for the asker: the network that it asks from, then others that it is on, then the
    /// service's own order.
    fn pick<'a>(
        &'a self,
        views: &'a [View],
        asker: IpAddr,
        good: impl Fn(&'a View) -> bool,
    ) -> Option<&'a View> {
        let IpAddr::V4(asker) = asker else { return views.iter().find(|view| good(view)) };
        let from: Option<&NetworkName> =
            self.pools.iter().find(|(pool, _)| pool.contains(asker)).map(|(_, network)| network);
        let also = self.askers.get(&asker);
        let first = |wanted: &dyn Fn(&NetworkName) -> bool| {
            views.iter().find(|view| view.network.as_ref().is_some_and(wanted) && good(view))
        };
        first(&|network| Some(network) == from)
            .or_else(|| first(&|network| also.is_some_and(|also| also.contains(network))))
            .or_else(|| views.iter().find(|view| good(view)))
    }

    /// `labels`: what stands before `in-addr.arpa`, so the last octet first.
    fn reverse<'a>(&'a self, labels: &[&str], wanted: Wanted) -> Found<'a> {
        let (address, given) = block(labels);
        // A name above the pool's own is somebody else's: it holds more than the pool.
        let mut pools = self.pools.iter().map(|(pool, _)| pool);
        let pool = pools.find(|pool| 8 * given >= pool.prefix() && pool.contains(address));
        let named = self.pointers.get(&address).filter(|_| labels.len() == 4 && given == 4);
        if let (Some(name), Wanted::Ptr | Wanted::Any) = (named, wanted) {
            let ttl = self.domains.iter().map(|domain| domain.ttl).min().unwrap_or(1);
            return Found::Pointer { ttl, name };
        }
        // A host's address on the LAN: we know its name, and nothing else of that zone.
        let Some(pool) = pool else { return Found::Foreign };
        if !self.complete {
            return Found::Unknown;
        }
        let zone = reverse_origin(pool.prefix(), address);
        let apex = matches!(zone, Origin::Reverse { octets, .. } if octets == given);
        match wanted {
            // Below an address, below what is no octet, or an address that nobody has.
            _ if labels.len() > usize::from(given) || given == 4 && named.is_none() => Found::NoName { zone },
            Wanted::Soa | Wanted::Any if apex => Found::Soa { zone },
            _ => Found::NoData { zone },
        }
    }
}

/// The labels before the domain, if the name is in it.
fn below<'l, 'a>(labels: &'l [&'a str], domain: &Domain) -> Option<&'l [&'a str]> {
    let split = labels.len().checked_sub(domain.labels.len())?;
    let (rest, end) = labels.split_at(split);
    end.iter().zip(&domain.labels).all(|(label, own)| *label == own).then_some(rest)
}

fn protocol(label: &str) -> Option<Protocol> {
    match label {
        "_tcp" => Some(Protocol::Tcp),
        "_udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// The address block of a reverse name: its first address, and how many octets are given, 0 to 4.
fn block(labels: &[&str]) -> (Ipv4Addr, u8) {
    let mut octets = [0; 4];
    let mut given = 0;
    for (octet, label) in octets.iter_mut().zip(labels.iter().rev()) {
        // Only the one spelling: `010` is no octet.
        let Some(value) = label.parse().ok().filter(|n: &u8| n.to_string() == *label) else { break };
        *octet = value;
        given += 1;
    }
    (octets.into(), given)
}

/// The domain in which a pool's addresses are named: reverse names are cut at octets, so the first cut at
/// or below the pool's own prefix.
fn reverse_origin<'a>(prefix: u8, address: Ipv4Addr) -> Origin<'a> {
    Origin::Reverse { address, octets: prefix.div_ceil(8) }
}
