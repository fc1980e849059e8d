//! Whom a check asks, and what.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use evenkeel_api::healthcheck::{HealthCheckSpec, PortRef, ProbeKind};
use evenkeel_api::local::LocalInstance;
use evenkeel_api::name::InstanceId;

/// A question, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// An HTTP request.
    Http {
        /// Where.
        address: SocketAddrV4,
        /// The `Host` header.
        host: String,
        /// The method.
        method: String,
        /// The path, with its query.
        path: String,
        /// Further header lines.
        header: BTreeMap<String, String>,
    },
    /// A connection.
    Tcp {
        /// Where.
        address: SocketAddrV4,
    },
    /// A command in the container.
    Exec {
        /// Whose.
        instance: InstanceId,
        /// Its words.
        command: Vec<String>,
    },
}

/// What `spec` asks of an instance.
///
/// # Errors
/// Why this copy cannot be asked, for people. That says nothing about its health: an older template may
/// lack the port that a new check names.
pub fn question(spec: &HealthCheckSpec, id: &InstanceId, copy: &LocalInstance) -> Result<Question, String> {
    let address = || -> Result<SocketAddrV4, String> {
        // A copy without a network of ours shares the host's.
        let address = copy.observed.addresses.values().next().copied().unwrap_or(Ipv4Addr::LOCALHOST);
        Ok(SocketAddrV4::new(address, port(spec, copy)?))
    };
    Ok(match spec.probe {
        ProbeKind::Tcp => Question::Tcp { address: address()? },
        ProbeKind::Http => Question::Http {
            address: address()?,
            host: id.service.name.to_string(),
            method: spec.method.clone().unwrap_or_else(|| "GET".to_owned()),
            path: spec.path.clone().unwrap_or_else(|| "/".to_owned()),
            header: spec.header.clone(),
        },
        ProbeKind::Exec => match &spec.command {
            Some(command) if !command.is_empty() => {
                Question::Exec { instance: id.clone(), command: command.clone() }
            }
            _ => return Err("the check has no command".to_owned()),
        },
    })
}

/// The port that `spec` means on this copy.
fn port(spec: &HealthCheckSpec, copy: &LocalInstance) -> Result<u16, String> {
    match &spec.port {
        Some(PortRef::Number(port)) => Ok(*port),
        Some(PortRef::Name(name)) => {
            let found = copy.ports.iter().find(|port| port.name.as_ref() == Some(name));
            found
                .map(|port| port.target)
                .ok_or_else(|| format!("this copy's template has no port named {name}"))
        }
        None => Err("the check has no port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_api::record::{Desired, InstanceState, Observed, Timestamp};

    use super::*;

    fn copy(address: Option<&str>) -> LocalInstance {
        let observed = Observed {
            state: InstanceState::Running,
            since: Timestamp(0),
            addresses: address.map(|a| ("lan".parse().unwrap(), a.parse().unwrap())).into_iter().collect(),
            ports: Vec::new(),
            restarts: 0,
            started: None,
            engine_health: None,
            digest: None,
        };
        let ports = serde_json::from_str(r#"[{"name": "http", "target": 8080}]"#).unwrap();
        LocalInstance { desired: Desired::Run, observed, ports }
    }

    #[test]
    fn a_check_asks_the_copys_own_address_by_number_or_name() {
        let id: InstanceId = "shop.web.1.a".parse().unwrap();
        let ask = |fields: &str, address| {
            let text = format!(r#"{{"target": {{"service": "web"}}, {fields}}}"#);
            question(&serde_json::from_str(&text).unwrap(), &id, &copy(address))
        };
        let at = |text: &str| text.parse().unwrap();
        let lan = Some("10.88.1.10");
        let tcp = |address| Ok(Question::Tcp { address: at(address) });
        assert_eq!(ask(r#""type": "tcp", "port": 6379"#, lan), tcp("10.88.1.10:6379"));
        assert_eq!(ask(r#""type": "tcp", "port": "http""#, lan), tcp("10.88.1.10:8080"));
        assert_eq!(ask(r#""type": "tcp", "port": 6379"#, None), tcp("127.0.0.1:6379"));
        let missing = ask(r#""type": "tcp", "port": "admin""#, lan);
        assert_eq!(missing, Err("this copy's template has no port named admin".to_owned()));
        let http = Question::Http {
            address: at("10.88.1.10:8080"),
            host: "web".into(),
            method: "GET".into(),
            path: "/".into(),
            header: BTreeMap::new(),
        };
        assert_eq!(ask(r#""type": "http", "port": "http""#, lan), Ok(http));
        let exec = Question::Exec { instance: id.clone(), command: vec!["ls".into(), "/".into()] };
        assert_eq!(ask(r#""type": "exec", "command": ["ls", "/"]"#, lan), Ok(exec));
        for none in [r#""type": "exec""#, r#""type": "exec", "command": []"#] {
            assert_eq!(ask(none, lan), Err("the check has no command".to_owned()));
        }
    }
}
