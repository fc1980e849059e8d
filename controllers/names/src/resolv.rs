//! The host's resolvers, from a file in the form of `resolv.conf`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How often the file is read again. A file that is mounted into a container gives no sign when it is
/// replaced outside, and to read it costs next to nothing.
pub const PERIOD: Duration = Duration::from_secs(2);

/// The name servers of a file's text, in order, each once. What is no address is left out.
pub fn servers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // An IPv6 address may carry the interface that it is on.
        let address = words.next().map(|word| word.split('%').next().unwrap_or(word));
        if let Some(Ok(address)) = address.map(str::parse::<IpAddr>) {
            let server = SocketAddr::new(address, 53);
            if !found.contains(&server) {
                found.push(server);
            }
        }
    }
    found
}

/// A file that is read again and again.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    last: Option<Vec<SocketAddr>>,
}

impl File {
    /// Not read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// Reads it: the servers, if they are not those of the last time. A file that cannot be read changes
    /// nothing, and is logged when that begins.
    pub fn read(&mut self) -> Option<Vec<SocketAddr>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => {
                let servers = servers(&text);
                if self.last.as_ref() == Some(&servers) {
                    return None;
                }
                self.last = Some(servers.clone());
                Some(servers)
            }
            Err(error) if self.last.is_none() => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the host's resolvers; names outside are not resolved");
                self.last = Some(Vec::new());
                None
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_are_read() {
        let text = "# x\nsearch lan\nnameserver 10.0.0.1\nnameserver\t10.0.0.2 # y\n;nameserver 1.1.1.1\n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 10.0.0.1\noptions ndots:2\n";
        let all: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["10.0.0.1:53", "10.0.0.2:53", "[fe80::1]:53"]);
    }
}
