//! What a host is given to become one of a cluster: where etcd is, who it is there, and what it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::name::HostName;
use serde::{Deserialize, Serialize};

use crate::pki::Pair;

/// What stands before a ticket, so that people and programs know it when they see one.
const MARK: &str = "evenkeel1:";

/// How long its lines are: a terminal takes some four thousand characters of one that is pasted.
const WIDTH: usize = 76;

/// See the module. It holds keys: whoever has it is the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The host's name in the cluster.
    pub host: HostName,
    /// Where its peers reach it.
    pub address: Ipv4Addr,
    /// etcd's client URLs, the nearest first.
    pub endpoints: Vec<String>,
    /// Where the cluster's keys begin.
    pub prefix: String,
    /// The controllers' image.
    pub image: String,
    /// Its controllers may lead.
    pub lead: bool,
    /// The certificate of whoever signs for etcd and its clients.
    pub authority: String,
    /// Who its controllers are to etcd: one each, or `all`.
    pub identities: BTreeMap<String, Pair>,
    /// The member of etcd that it carries.
    pub etcd: Option<Member>,
    /// Who it is when it makes backups of etcd: root, as nobody else may see all.
    pub backup: Option<Pair>,
}

/// A member of etcd.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The image with etcd.
    pub image: String,
    /// All members there are then, as etcd's `--initial-cluster`.
    pub cluster: String,
    /// What tells this etcd from others.
    pub token: String,
    /// It joins others that run already.
    pub joins: bool,
    /// It begins with what stands in that file, a backup.
    pub restore: Option<String>,
    /// For its clients.
    pub server: Pair,
    /// For the other members.
    pub peer: Pair,
    /// The certificate of whoever signs for members.
    pub authority: String,
}

/// A text that is no ticket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no ticket: {0}; `evenkeel host ticket` makes one")]
pub struct NoTicket(String);

impl Ticket {
    /// As a text of some lines.
    pub fn encode(&self) -> String {
        // Texts, numbers and maps with text keys: that cannot fail.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut text = MARK.to_owned();
        for (n, character) in STANDARD.encode(json).chars().enumerate() {
            if n % WIDTH == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text
    }

    /// From that text, however its lines are broken.
    ///
    /// # Errors
    /// It is none, or was cut off.
    pub fn decode(text: &str) -> Result<Self, NoTicket> {
        let none = |why: &dyn fmt::Display| NoTicket(why.to_string());
        let code =
            text.trim().strip_prefix(MARK).ok_or_else(|| none(&format!("it does not begin with {MARK}")))?;
        let code: String = code.split_whitespace().collect();
        let json = STANDARD.decode(code).map_err(|error| none(&error))?;
        serde_json::from_slice(&json).map_err(|error| none(&error))
    }

    /// It has one process and one identity for each controller.
    pub fn is_separate(&self) -> bool {
        !self.identities.contains_key(ALL)
    }
}

/// The identity of all controllers in one process.
pub const ALL: &str = "all";

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("host", &self.host)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
