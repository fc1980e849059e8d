//! Bringing a ticket to its host, which may be this one.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;

use evenkeel_cluster::Ticket;

use super::machine;
use super::ssh::Remote;
use crate::failure::Failure;

/// Where a host is.
#[derive(Debug, Clone)]
pub enum Place {
    /// This machine.
    Here,
    /// Another one.
    There(Remote),
}

impl Place {
    /// Of the host at `address`, which ssh reaches as `target` says, or as root at that address.
    pub fn of(address: Ipv4Addr, target: Option<&str>) -> Self {
        if is_ours(address, &own_addresses()) {
            return Self::Here;
        }
        Self::There(Remote::new(target.unwrap_or(&format!("root@{address}"))))
    }

    /// Makes it the host that the ticket names, with this very program.
    ///
    /// # Errors
    /// It is not reached, or a step fails there.
    pub fn deliver(&self, ticket: &Ticket) -> Result<(), Failure> {
        let remote = match self {
            Self::Here => {
                machine::prepare(ticket)?;
                return machine::start(ticket);
            }
            Self::There(remote) => remote,
        };
        remote.install()?;
        let (reader, mut writer) = std::io::pipe()?;
        let word = ticket.encode();
        let sent = std::thread::spawn(move || writer.write_all(word.as_bytes()));
        remote.tell("/usr/local/bin/evenkeel host join -", Stdio::from(reader))?;
        sent.join().map_err(|_| Failure::new("the ticket was not sent"))??;
        Ok(())
    }

    /// The same, beside the runtime's one thread: it may take its time.
    ///
    /// # Errors
    /// It is not reached, or a step fails there.
    pub async fn delivers(&self, ticket: Ticket) -> Result<(), Failure> {
        let place = self.clone();
        tokio::task::spawn_blocking(move || place.deliver(&ticket)).await.map_err(Failure::new)?
    }

    /// See [`Place::ask`]; beside the runtime's one thread.
    ///
    /// # Errors
    /// It is not reached, or the command fails.
    pub async fn asks(&self, command: &str) -> Result<String, Failure> {
        let (place, command) = (self.clone(), command.to_owned());
        tokio::task::spawn_blocking(move || place.ask(&command)).await.map_err(Failure::new)?
    }

    /// What a command of the host bundle says there.
    ///
    /// # Errors
    /// It is not reached, or the command fails.
    pub fn ask(&self, command: &str) -> Result<String, Failure> {
        match self {
            Self::There(remote) => remote.ask(command),
            Self::Here => {
                let output = std::process::Command::new("/bin/sh").args(["-c", command]).output()?;
                if output.status.success() {
                    return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
                }
                let said = String::from_utf8_lossy(&output.stderr);
                // A script would hide what it says.
                let command: String = command.chars().take(60).collect();
                Err(Failure::new(format!("«{command}»: {}", said.trim())))
            }
        }
    }
}

/// What this machine's interfaces have. To bind an address says less: with net.ipv4.ip_nonlocal_bind=1 any can be bound.
fn own_addresses() -> Vec<Ipv4Addr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect()
}

fn is_ours(address: Ipv4Addr, own: &[Ipv4Addr]) -> bool {
    address.is_loopback() || own.contains(&address)
}

/// As one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_interface_has_is_this_machine() {
        let own = [[127, 0, 0, 1].into(), [10, 0, 0, 11].into()];
        for (address, here) in [
            ([10, 0, 0, 11], true),
            ([127, 0, 1, 1], true),
            ([10, 0, 0, 12], false),
            ([10, 0, 0, 255], false),
        ] {
            assert_eq!(is_ours(address.into(), &own), here, "{address:?}");
        }
        assert!(own_addresses().contains(&Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_text_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
