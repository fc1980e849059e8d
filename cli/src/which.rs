//! How a person names a host: by its name in the cluster, or by its address. One leads to the other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use evenkeel_api::name::HostName;
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::snapshot;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// By its name.
    Name(HostName),
    /// By its address on the LAN.
    Address(Ipv4Addr),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        text.parse().map(Self::Name).map_err(|error| {
            format!("{error}; a host is named as `evenkeel host list` shows it, like h2, or by its address, like 10.0.0.12")
        })
    }
}

impl Which {
    /// The host's name. One that is given by name need not be there.
    ///
    /// # Errors
    /// No host has that address, or the store does not answer.
    pub async fn name(&self, store: &Arc<dyn Store>) -> Result<HostName, Failure> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::Address(_) => self.name_among(&addresses(store).await?),
        }
    }

    /// The same, among hosts that are known.
    ///
    /// # Errors
    /// None of them has that address.
    pub fn name_among(&self, known: &BTreeMap<HostName, Ipv4Addr>) -> Result<HostName, Failure> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::Address(address) => {
                let found = known.iter().find(|(_, other)| *other == address).map(|(name, _)| name.clone());
                found.ok_or_else(|| {
                    Failure::new(format!("no host has the address {address}: see `evenkeel host list`"))
                })
            }
        }
    }

    /// The address of a machine that need not be a host yet.
    ///
    /// # Errors
    /// It is named, and no host has that name.
    pub fn address_among(&self, known: &BTreeMap<HostName, Ipv4Addr>) -> Result<Ipv4Addr, Failure> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Name(name) => known.get(name).copied().ok_or_else(|| {
                Failure::new(format!(
                    "there is no host {name} yet, so its address is wanted: evenkeel host add ADDRESS --name {name}"
                ))
            }),
        }
    }
}

/// Where all hosts are.
///
/// # Errors
/// The store does not answer.
pub async fn addresses(store: &Arc<dyn Store>) -> Result<BTreeMap<HostName, Ipv4Addr>, Failure> {
    let hosts = snapshot::hosts(store).await?.accepted.into_iter();
    Ok(hosts.map(|(name, host)| (name, host.spec.address)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_lead_to_each_other_where_the_host_is_known() {
        let known = [("h2".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 12))].into();
        let both = |text: &str| {
            let which: Which = text.parse().unwrap();
            let name = which.name_among(&known).map(|name| name.to_string()).map_err(|it| it.message);
            (name, which.address_among(&known).map(|it| it.to_string()).map_err(|it| it.message))
        };
        for text in ["h2", "10.0.0.12"] {
            assert_eq!(both(text), (Ok("h2".to_owned()), Ok("10.0.0.12".to_owned())), "{text}");
        }
        let (name, address) = both("h3");
        assert_eq!(name.unwrap(), "h3");
        assert!(address.unwrap_err().contains("evenkeel host add ADDRESS --name h3"));
        let (name, address) = both("10.0.0.13");
        assert!(name.unwrap_err().contains("evenkeel host list"));
        assert_eq!(address.unwrap(), "10.0.0.13");
        assert!("h2.lan".parse::<Which>().is_err_and(|why| why.contains("by its address")));
    }
}
