//! Where the controllers of a host serve their figures.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use evenkeel_api::key::Controller;

/// Where figures are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    /// Nowhere.
    Off,
    /// There; without an address at the host's own.
    At(Option<Ipv4Addr>, u16),
}

impl FromStr for Figures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (address, port) = match text.rsplit_once(':') {
            Some((address, port)) => {
                let parsed = address.parse().map_err(|_| format!("{address:?} is no IPv4 address"))?;
                (Some(parsed), port)
            }
            None => (None, text),
        };
        // Each controller may have a port of its own, behind this one.
        let highest = u16::MAX - Controller::ALL.len() as u16;
        match port.parse() {
            Ok(port) if (1..=highest).contains(&port) => Ok(Self::At(address, port)),
            _ => Err(format!("{port:?} is no port from 1 to {highest}; `off` serves no figures")),
        }
    }
}

impl Figures {
    /// Where the process of these controllers serves them, on the host with that address. One controller alone
    /// has a port of its own, so that processes of one host are never in each other's way.
    pub fn of(self, controllers: &[Controller], host: Ipv4Addr) -> Option<SocketAddrV4> {
        let Self::At(address, port) = self else { return None };
        let offset = match controllers {
            [alone] => Controller::ALL.iter().zip(1..).find(|(of, _)| *of == alone).map_or(0, |(_, n)| n),
            _ => 0,
        };
        Some(SocketAddrV4::new(address.unwrap_or(host), port.saturating_add(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_at_a_port_or_nowhere() {
        let here = Ipv4Addr::new(10, 0, 0, 11);
        let all = &Controller::ALL[..6];
        for (text, controllers, at) in [
            ("7460", all, Some("10.0.0.11:7460")),
            ("7460", &[Controller::Host][..], Some("10.0.0.11:7461")),
            ("127.0.0.1:9000", &[Controller::Watchdog][..], Some("127.0.0.1:9007")),
            ("off", all, None),
        ] {
            let figures: Figures = text.parse().unwrap();
            assert_eq!(figures.of(controllers, here).map(|at| at.to_string()).as_deref(), at, "{text}");
        }
        for text in ["", "on", "0", "65530", "host:7460", "10.0.0.11:", "-1", "[::1]:80"] {
            assert!(text.parse::<Figures>().is_err(), "{text:?}");
        }
        assert_eq!("off:1".parse::<Figures>(), Err("\"off\" is no IPv4 address".to_owned()));
    }
}
