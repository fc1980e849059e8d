//! What hosts remember of the store, for the day on which the store has forgotten it. While the store is
//! trusted it lies on their disks; when it went back they put it beside it, in pieces, for a person to compare
//! and to bring back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::key::Key;

/// Records as they were last seen in a store that was trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The cluster's uid; empty while there was none.
    pub uid: String,
    /// Its epoch.
    pub epoch: u64,
    /// The highest revision that was seen.
    pub revision: i64,
    /// By key.
    pub records: BTreeMap<String, Remembered>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// As it stood there.
    pub value: String,
    /// The revision of its last change; 0: not known.
    #[serde(default)]
    pub revision: i64,
}

/// `reports/<h>/memory/<controller>/<n>`: a piece of a [`Recall`], as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// How many there are.
    pub of: u32,
    /// Tells pieces of one memory from those of another.
    pub digest: String,
    /// The text.
    pub text: String,
}

impl Recall {
    /// Why a store of which this was seen cannot be one of which `before` was seen earlier, if so: revisions and
    /// epochs only grow. Another cluster is another matter, and so is what a person has declared void since.
    pub fn is_behind(&self, before: &Self) -> Option<String> {
        if self.uid != before.uid || self.epoch > before.epoch {
            return None;
        }
        if self.epoch < before.epoch {
            return Some(format!("the cluster's epoch was {}, and is {}", before.epoch, self.epoch));
        }
        before.records.iter().find_map(|(key, known)| {
            let stands = self.records.get(key)?;
            (stands.revision < known.revision).then(|| {
                format!(
                    "{key} was last changed at revision {}, and now at {}",
                    known.revision, stands.revision
                )
            })
        })
    }
}

/// The most bytes of text in a piece.
const PIECE: usize = 200_000;

/// Whether a record is worth remembering: what cannot be found out anew by looking at the hosts, and what names
/// and copies live from until it is.
pub fn is_durable(key: &Key) -> bool {
    matches!(
        key,
        Key::Document(_)
            | Key::Pin(_)
            | Key::Brake
            | Key::Accepted(_)
            | Key::Revision(..)
            | Key::Digest(..)
            | Key::Rollout(_)
            | Key::Instance(..)
            | Key::Endpoints(..)
            | Key::Subnet(..)
            | Key::Facts(_)
            | Key::Observed(..)
            | Key::Health(..)
            | Key::NetworkReport(..)
    )
}

impl Recall {
    /// In pieces that fit the store's values.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn pieces(&self) -> Result<Vec<Piece>, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        let digest = digest(&text);
        let mut rest = text.as_str();
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let mut at = rest.len().min(PIECE);
            while !rest.is_char_boundary(at) {
                at -= 1;
            }
            let (piece, tail) = rest.split_at(at);
            texts.push(piece.to_owned());
            rest = tail;
        }
        let of = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        Ok(texts.into_iter().map(|text| Piece { of, digest: digest.clone(), text }).collect())
    }

    /// From its pieces, by number; `None`: some are missing, or do not belong together.
    pub fn join(pieces: &BTreeMap<u32, Piece>) -> Option<Self> {
        let first = pieces.get(&0)?;
        let mut text = String::new();
        for number in 0..first.of {
            text.push_str(&pieces.get(&number).filter(|piece| piece.digest == first.digest)?.text);
        }
        if digest(&text) != first.digest {
            return None;
        }
        serde_json::from_str(&text).ok()
    }
}

/// FNV-1a: tells texts apart, no more.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole_again_and_nothing_else_does() {
        let value = "täglich ".repeat(70_000);
        let records = [("services/shop/web".to_owned(), Remembered { value, revision: 7 })].into();
        let recall = Recall { uid: "u".to_owned(), epoch: 1, revision: 9, records };
        let pieces: BTreeMap<u32, Piece> = (0..).zip(recall.pieces().unwrap()).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!(Recall::join(&pieces), Some(recall));
        for number in 0..4 {
            let mut fewer = pieces.clone();
            fewer.remove(&number);
            assert_eq!(Recall::join(&fewer), None);
            let mut mixed = pieces.clone();
            mixed.get_mut(&number).unwrap().text.push('x');
            assert_eq!(Recall::join(&mixed), None);
        }
        assert_eq!(Recall::join(&BTreeMap::new()), None);
    }

    #[test]
    fn a_store_of_which_more_was_seen_is_behind() {
        let of = |uid: &str, epoch, records: &[(&str, i64)]| {
            let records = records.iter().map(|(key, revision)| {
                ((*key).to_owned(), Remembered { value: "x".to_owned(), revision: *revision })
            });
            Recall { uid: uid.to_owned(), epoch, revision: 99, records: records.collect() }
        };
        let before = of("u", 5, &[("services/a/a", 7), ("services/a/b", 9), ("rollouts/a/a", 0)]);
        for (now, behind) in [
            (of("u", 5, &[("services/a/a", 7), ("services/a/b", 9), ("rollouts/a/a", 3)]), false),
            (of("u", 5, &[("services/a/a", 12)]), false),
            (of("u", 5, &[("services/a/a", 7), ("services/a/b", 8)]), true),
            (of("u", 6, &[("services/a/b", 8)]), false),
            (of("u", 4, &[("services/a/a", 7)]), true),
            (of("v", 1, &[("services/a/b", 8)]), false),
        ] {
            assert_eq!(now.is_behind(&before).is_some(), behind, "{now:?}");
        }
    }
}
