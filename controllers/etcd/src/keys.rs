//! From etcd's keys and messages to ours and back: the prefix is put in front and taken off here alone.

use bytes::Bytes;
use etcd_client::ResponseHeader;
use etcd_client::proto::{PbKeyValue, PbResponseHeader};
use evenkeel_runtime::store::{Header, Kv};

/// What stands before every key, with its `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    pub fn new(prefix: &str) -> Self {
        Self(format!("{}/", prefix.trim_end_matches('/')))
    }

    /// etcd's key for ours.
    pub fn full(&self, key: &str) -> String {
        format!("{}{key}", self.0)
    }

    /// Our key for etcd's; none if it is not below the prefix, or no text.
    pub fn strip(&self, key: Vec<u8>) -> Option<String> {
        let key = String::from_utf8(key).ok()?;
        key.strip_prefix(&self.0).map(str::to_owned)
    }

    /// Our form of a key and its value; none for keys that are no text, which nobody of ours has written.
    pub fn kv(&self, kv: PbKeyValue) -> Option<Kv> {
        Some(Kv {
            key: self.strip(kv.key)?,
            value: Bytes::from(kv.value),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            lease: kv.lease,
        })
    }
}

/// Our form of a header; one of zeros for none, as a compacted watch has it.
pub(crate) fn header_of(header: Option<&PbResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster_id: header.cluster_id,
        revision: header.revision,
        raft_term: header.raft_term,
    })
}

/// The same, from an answer.
pub(crate) fn header(header: Option<&ResponseHeader>) -> Header {
    header_of(header.map(|header| &header.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_goes_on_and_comes_off() {
        let prefix = Prefix::new("/evenkeel/v1/");
        assert_eq!(prefix.full("alive/h1"), "/evenkeel/v1/alive/h1");
        assert_eq!(prefix.strip(b"/evenkeel/v1/alive/h1".to_vec()).as_deref(), Some("alive/h1"));
        assert_eq!(prefix.strip(b"/evenkeel/v2/alive/h1".to_vec()), None);
        assert_eq!(prefix.strip(vec![0xff]), None);
    }
}
