//! The person's end: calls a host, and reads its first word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::name::HostName;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::frame::{Frame, Hello};
use crate::link::Link;
use crate::tls::{Identity, meaning};

/// A host that does not answer within that time is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a host cannot be spoken with, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Calls `host`: with certificates if we have one, and then it must have one, too, of its users' `generation`.
///
/// # Errors
/// It does not answer, or is not that host.
pub async fn call(
    host: &HostName,
    generation: u32,
    address: SocketAddr,
    identity: Option<&Identity>,
) -> Result<(Hello, Link), Refused> {
    let greeted = timeout(PATIENCE, async {
        let stream = TcpStream::connect(address).await.map_err(|error| Refused(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Refused(error.to_string()))?;
        let mut link = match identity {
            None => Link::over(stream),
            Some(identity) => {
                let config = identity.calling(host, generation).map_err(|error| Refused(chain(&error)))?;
                let name = ServerName::IpAddress(address.ip().into());
                let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
                Link::over(connecting.await.map_err(|error| Refused(meaning(&error)))?)
            }
        };
        match link.receive().await {
            Ok(Frame::Hello(hello)) if hello.host == *host => Ok((hello, link)),
            Ok(Frame::Hello(hello)) => Err(Refused(format!("what answers there is host {}", hello.host))),
            Ok(Frame::Refused(why)) => Err(Refused(why)),
            Ok(_) => Err(Refused("what answers there is no evenkeel host".to_owned())),
            // A host with certificates hangs up on who shows none, and says so only in its own terms.
            Err(error) if identity.is_none() => Err(Refused(format!(
                "{error}; if the cluster has certificates, this needs one: see `ca`, `cert` and `key`"
            ))),
            Err(error) => Err(Refused(error.to_string())),
        }
    });
    greeted.await.unwrap_or_else(|_| Err(Refused(format!("no answer within {} seconds", PATIENCE.as_secs()))))
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
