//! What a store that went back has lost, and both ways out of it: read from the store and the hosts' memory,
//! and written into it. A person decides; `evenkeel recover` is how.

pub mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::meta::Kind;
use evenkeel_api::name::HostName;
use evenkeel_api::recall::{Piece, Recall, is_durable};
use evenkeel_api::record::{Cluster, Distrust, Halt, Timestamp};
use evenkeel_runtime::store::{Kv, Store, StoreError, TxnBuilder, TxnError};

use self::difference::{Difference, Memory, Of, Stands, Write};

/// Which way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the hosts remember counts.
    FromHosts,
    /// What etcd says now counts.
    AcceptEtcd,
}

/// Why a recovery was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer, or not well.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much at once.
    #[error(transparent)]
    Txn(#[from] TxnError),
    /// It cannot be done now; what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }
}

/// Writes of one transaction: as many demands, and some room.
const AT_ONCE: usize = 60;
/// Bytes of one transaction.
const BYTES: usize = 1_000_000;

/// All that a recovery is decided from.
pub struct View {
    /// Why the cluster is halted, if it is.
    pub halt: Option<Halt>,
    /// What the hosts remember, taken together.
    pub memory: Memory,
    /// Who has told what it remembers.
    pub remember: BTreeSet<HostName>,
    store: difference::Store,
    /// The revisions of `cluster` and `halt`; 0: absent.
    cluster_at: i64,
    halt_at: i64,
    distrust: BTreeSet<HostName>,
    alive: BTreeSet<HostName>,
    pieces: Vec<Key>,
}

impl View {
    /// Reads it.
    ///
    /// # Errors
    /// The store does not answer, or hosts of several clusters tell what they remember.
    pub async fn read(store: &Arc<dyn Store>) -> Result<Self, Error> {
        // Before all else: what is written later than this refuses the recovery's last transaction.
        let (cluster, _) = store.get(&Key::Cluster).await?;
        let (halt, header) = store.get(&Key::Halt).await?;
        let mut view = Self {
            store: difference::Store { revision: header.revision, ..difference::Store::default() },
            cluster_at: cluster.as_ref().map_or(0, |kv| kv.mod_revision),
            halt_at: halt.as_ref().map_or(0, |kv| kv.mod_revision),
            halt: halt.map(|kv| {
                let broken = Halt { why: "somebody wrote `halt`".to_owned(), since: Timestamp(0) };
                serde_json::from_slice(&kv.value).unwrap_or(broken)
            }),
            memory: Memory::default(),
            distrust: BTreeSet::new(),
            alive: BTreeSet::new(),
            remember: BTreeSet::new(),
            pieces: Vec::new(),
        };
        let read = |kv: Kv| serde_json::from_slice::<Cluster>(&kv.value);
        view.store.cluster = cluster.map(read).transpose().map_err(|error| {
            Error::Refused(format!("the record {} cannot be read: {error}", Key::Cluster))
        })?;
        let mut pieces: BTreeMap<(HostName, Controller), BTreeMap<u32, Piece>> = BTreeMap::new();
        for prefix in prefixes() {
            for kv in store.list(&prefix).await?.kvs {
                let Ok(key) = kv.key.parse::<Key>() else { continue };
                // What is no text stands all the same, and is in the way of what is given back.
                let value = &*String::from_utf8_lossy(&kv.value);
                match &key {
                    Key::Distrust(host, _) if serde_json::from_str::<Distrust>(value).is_ok() => {
                        view.distrust.insert(host.clone());
                    }
                    Key::Alive(host) => drop(view.alive.insert(host.clone())),
                    Key::Recall(host, controller, number) => {
                        if let Ok(piece) = serde_json::from_str(value) {
                            let of = pieces.entry((host.clone(), *controller)).or_default();
                            of.insert(*number, piece);
                        }
                        view.pieces.push(key);
                    }
                    _ if is_durable(&key) => {
                        let stands = Stands { value: value.to_owned(), revision: kv.mod_revision };
                        view.store.records.insert(key, stands);
                    }
                    _ => {}
                }
            }
        }
        let mut all = Vec::new();
        for ((host, controller), pieces) in pieces {
            if let Some(recall) = Recall::join(&pieces) {
                view.remember.insert(host.clone());
                all.push(match controller {
                    Controller::Service => Of::Archive(recall),
                    _ => Of::Host(host, recall),
                });
            }
        }
        view.memory = Memory::of(all, &view.store).map_err(|why| {
            Error::Refused(format!("{why}: point those that do not belong here at their own etcd first"))
        })?;
        if view.memory.uid.is_empty() {
            view.memory.uid = view.store.cluster.as_ref().map(|one| one.uid.clone()).unwrap_or_default();
        }
        Ok(view)
    }

    /// Whether anybody does not trust the store.
    pub fn is_needed(&self) -> bool {
        self.halt.is_some() || !self.distrust.is_empty()
    }

    /// What the store says and what the hosts remember.
    pub fn difference(&self) -> Difference {
        difference::difference(&self.store, &self.memory)
    }

    /// Ends the halt, that way. Gives how many records were given back.
    ///
    /// # Errors
    /// The hosts have not told enough, something moved meanwhile, or the store does not answer.
    pub async fn recover(&self, store: &Arc<dyn Store>, way: Way, now: Timestamp) -> Result<usize, Error> {
        self.refuse_strangers()?;
        let writes = match way {
            Way::FromHosts => self.import(&self.difference())?,
            Way::AcceptEtcd => BTreeMap::new(),
        };
        let halt_at = self.ensure_halt(store, now).await?;
        let count = writes.len();
        write(store, writes, halt_at).await?;
        self.finish(store, halt_at, now).await?;
        Ok(count)
    }

    /// A store in which another cluster lives is not ours to recover.
    fn refuse_strangers(&self) -> Result<(), Error> {
        let Some(cluster) = &self.store.cluster else {
            if self.memory.uid.is_empty() {
                return Err(Error::refused(
                    "etcd knows no cluster, and no host has told yet what it remembers: look again in some seconds",
                ));
            }
            return Ok(());
        };
        let at_home: Vec<&str> = self.alive.difference(&self.distrust).map(HostName::as_str).collect();
        if cluster.uid != self.memory.uid && !at_home.is_empty() {
            return Err(Error::Refused(format!(
                "this etcd is another cluster's ({}), in which {} lives; the hosts that do not trust it belong to \
                 {}: point them at their own etcd",
                cluster.uid,
                at_home.join(", "),
                self.memory.uid
            )));
        }
        Ok(())
    }

    fn import(&self, difference: &Difference) -> Result<BTreeMap<Key, Write>, Error> {
        let silent: Vec<&str> = self.alive.difference(&self.remember).map(HostName::as_str).collect();
        if !silent.is_empty() {
            return Err(Error::Refused(format!(
                "{} is alive and has not told yet what it remembers: look again in some seconds",
                silent.join(", ")
            )));
        }
        if self.remember.is_empty() {
            return Err(Error::refused("no host has told what it remembers: is evenkeel running anywhere?"));
        }
        if !difference.without_document.is_empty() {
            let services: Vec<String> = difference.without_document.iter().map(ToString::to_string).collect();
            return Err(Error::Refused(format!(
                "nobody remembers the documents of {}, which runs: put them back first (`evenkeel apply -f DIR`), \
                 then say this again",
                services.join(", ")
            )));
        }
        Ok(difference::import(&self.store, &self.memory))
    }

    /// Nobody else writes meanwhile. Gives the revision of what says so.
    async fn ensure_halt(&self, store: &Arc<dyn Store>, now: Timestamp) -> Result<i64, Error> {
        if self.halt_at != 0 {
            return Ok(self.halt_at);
        }
        let halt = Halt { why: "a person recovers the cluster".to_owned(), since: now };
        let value = serde_json::to_vec(&halt).map_err(Error::refused)?;
        let txn = TxnBuilder::new().if_absent(&Key::Halt).put(&Key::Halt, value).build()?;
        let committed = store.commit(&txn).await?;
        if committed.succeeded { Ok(committed.header.revision) } else { Err(moved()) }
    }

    /// One transaction ends it for all: the epoch rises, and the halt goes.
    async fn finish(&self, store: &Arc<dyn Store>, halt_at: i64, now: Timestamp) -> Result<(), Error> {
        let cluster = difference::cluster(&self.store, &self.memory, now);
        let value = serde_json::to_vec(&cluster).map_err(Error::refused)?;
        let txn = TxnBuilder::new()
            .if_unchanged(&Key::Cluster, self.cluster_at)
            .if_unchanged(&Key::Halt, halt_at)
            .put(&Key::Cluster, value)
            .delete(&Key::Halt);
        if !store.commit(&txn.build()?).await?.succeeded {
            return Err(moved());
        }
        // Hosts take theirs away themselves; those of hosts that are gone would stay.
        for some in self.pieces.chunks(AT_ONCE) {
            let txn = some.iter().fold(TxnBuilder::new(), TxnBuilder::delete);
            store.commit(&txn.build()?).await?;
        }
        Ok(())
    }
}

fn moved() -> Error {
    Error::refused("something changed in this very moment: look again, and say it once more")
}

/// Everything that a recovery looks at.
fn prefixes() -> Vec<String> {
    let mut all: Vec<String> =
        Kind::ALL.into_iter().flat_map(|k| [prefix::documents(k), prefix::accepted(k)]).collect();
    all.extend([
        prefix::pins(),
        Key::Brake.to_string(),
        prefix::revisions(),
        prefix::rollouts(),
        prefix::instances(),
        prefix::endpoints(),
        prefix::subnets(),
        prefix::facts(),
        prefix::observed(),
        prefix::health(),
        prefix::alive(),
        prefix::reports(),
    ]);
    all
}

/// Each transaction only while the halt stands and nothing moved. What was done before one was refused is found
/// done by the next try.
async fn write(store: &Arc<dyn Store>, writes: BTreeMap<Key, Write>, halt_at: i64) -> Result<(), Error> {
    for txn in transactions(writes, halt_at) {
        if !store.commit(&txn.build()?).await?.succeeded {
            return Err(moved());
        }
    }
    Ok(())
}

/// As many as it takes; a value that is larger than one should be has its own.
fn transactions(writes: BTreeMap<Key, Write>, halt_at: i64) -> Vec<TxnBuilder> {
    let begin = || TxnBuilder::new().if_unchanged(&Key::Halt, halt_at);
    let mut all: Vec<TxnBuilder> = Vec::new();
    for (key, write) in writes {
        let size = write.value.as_ref().map_or(0, String::len);
        let last = all.pop_if(|txn| txn.writes() < AT_ONCE && txn.bytes() + size <= BYTES);
        let txn = last.unwrap_or_else(begin).if_unchanged(&key, write.revision);
        all.push(match write.value {
            Some(value) => txn.put(&key, value),
            None => txn.delete(&key),
        });
    }
    all
}

#[cfg(test)]
mod tests;
