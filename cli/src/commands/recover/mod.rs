//! `evenkeel recover`: what a store that went back has lost, and both ways out of it.

mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::meta::Kind;
use evenkeel_api::name::HostName;
use evenkeel_api::recall::{Piece, Recall, is_durable};
use evenkeel_api::record::{Cluster, Distrust, Halt, Timestamp};
use evenkeel_runtime::store::{Store, TxnBuilder};

use self::difference::{Difference, Memory, Of, Stands, Word, Write};
use crate::failure::Failure;
use crate::output::{Format, say, structured, table};
use crate::snapshot;

/// Which way out.
#[derive(Debug, Args)]
pub struct Recover {
    /// What the hosts remember counts: give it back to etcd, and go on; nothing restarts
    #[arg(long)]
    from_hosts: bool,
    /// What etcd says now counts: what it does not know any more is stopped, gently
    #[arg(long, conflicts_with = "from_hosts")]
    accept_etcd: bool,
    /// Also where --accept-etcd stops copies
    #[arg(long, requires = "accept_etcd")]
    yes: bool,
}

/// Writes of one transaction: as many demands, and some room.
const AT_ONCE: usize = 60;
/// Bytes of one transaction.
const BYTES: usize = 1_000_000;

/// All that a recovery is decided from.
struct View {
    store: difference::Store,
    /// The revisions of `cluster` and `halt`; 0: absent.
    cluster_at: i64,
    halt_at: i64,
    halt: Option<Halt>,
    memory: Memory,
    distrust: BTreeSet<HostName>,
    alive: BTreeSet<HostName>,
    remember: BTreeSet<HostName>,
    pieces: Vec<Key>,
}

impl Recover {
    /// Shows the difference, or does what is asked.
    ///
    /// # Errors
    /// etcd is trusted, the hosts have not told enough, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format, now: Timestamp) -> Result<(), Failure> {
        let view = View::read(store).await?;
        if view.halt.is_none() && view.distrust.is_empty() {
            return Err(Failure::new("every controller trusts etcd: there is nothing to recover"));
        }
        let difference = difference::difference(&view.store, &view.memory);
        if !self.from_hosts && !self.accept_etcd {
            return show(&view, &difference, format);
        }
        view.refuse_strangers()?;
        if self.accept_etcd && !self.yes {
            stops_nothing(&difference)?;
        }
        let writes = if self.from_hosts { view.import(&difference)? } else { BTreeMap::new() };
        let halt_at = view.ensure_halt(store, now).await?;
        let count = writes.len();
        write(store, writes, halt_at).await?;
        view.finish(store, halt_at).await?;
        if self.from_hosts {
            say!("{count} records of etcd are as the hosts remember them");
        }
        say!("within some seconds every controller goes on from what etcd says now");
        Ok(())
    }
}

impl View {
    async fn read(store: &Arc<dyn Store>) -> Result<Self, Failure> {
        // Before all else: what is written later than this refuses the recovery's last transaction.
        let cluster = snapshot::get::<Cluster>(store, &Key::Cluster).await?;
        let (halt, header) = store.get(&Key::Halt).await?;
        let mut view = Self {
            store: difference::Store { revision: header.revision, ..difference::Store::default() },
            cluster_at: cluster.as_ref().map_or(0, |found| found.mod_revision),
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
        view.store.cluster = cluster.map(|found| found.value);
        let mut pieces: BTreeMap<(HostName, Controller), BTreeMap<u32, Piece>> = BTreeMap::new();
        for prefix in prefixes() {
            for kv in store.list(&prefix).await?.kvs {
                let (Ok(key), Ok(value)) = (kv.key.parse::<Key>(), std::str::from_utf8(&kv.value)) else {
                    continue;
                };
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
        view.memory = Memory::of(all).map_err(|why| {
            Failure::new(format!("{why}: point those that do not belong here at their own etcd first"))
        })?;
        if view.memory.uid.is_empty() {
            view.memory.uid = view.store.cluster.as_ref().map(|one| one.uid.clone()).unwrap_or_default();
        }
        Ok(view)
    }

    /// A store in which another cluster lives is not ours to recover.
    fn refuse_strangers(&self) -> Result<(), Failure> {
        let Some(cluster) = &self.store.cluster else {
            if self.memory.uid.is_empty() {
                return Err(Failure::new(
                    "etcd knows no cluster, and no host has told yet what it remembers: look again in some seconds",
                ));
            }
            return Ok(());
        };
        let at_home: Vec<&str> = self.alive.difference(&self.distrust).map(HostName::as_str).collect();
        if cluster.uid != self.memory.uid && !at_home.is_empty() {
            return Err(Failure::new(format!(
                "this etcd is another cluster's ({}), in which {} lives; the hosts that do not trust it belong to \
                 {}: point them at their own etcd",
                cluster.uid,
                at_home.join(", "),
                self.memory.uid
            )));
        }
        Ok(())
    }

    fn import(&self, difference: &Difference) -> Result<BTreeMap<Key, Write>, Failure> {
        let silent: Vec<&str> = self.alive.difference(&self.remember).map(HostName::as_str).collect();
        if !silent.is_empty() {
            return Err(Failure::new(format!(
                "{} is alive and has not told yet what it remembers: look again in some seconds",
                silent.join(", ")
            )));
        }
        if self.remember.is_empty() {
            return Err(Failure::new("no host has told what it remembers: is evenkeel running anywhere?"));
        }
        if !difference.without_document.is_empty() {
            let services: Vec<String> = difference.without_document.iter().map(ToString::to_string).collect();
            return Err(Failure::new(format!(
                "nobody remembers the documents of {}, which runs: put them back first (`evenkeel apply -f DIR`), \
                 then say this again",
                services.join(", ")
            )));
        }
        Ok(difference::import(&self.store, &self.memory))
    }

    /// Nobody else writes meanwhile. Gives the revision of what says so.
    async fn ensure_halt(&self, store: &Arc<dyn Store>, now: Timestamp) -> Result<i64, Failure> {
        if self.halt_at != 0 {
            return Ok(self.halt_at);
        }
        let halt = Halt { why: "a person recovers the cluster".to_owned(), since: now };
        let value = serde_json::to_vec(&halt).map_err(Failure::new)?;
        let txn = TxnBuilder::new().if_absent(&Key::Halt).put(&Key::Halt, value).build()?;
        let committed = store.commit(&txn).await?;
        if committed.succeeded { Ok(committed.header.revision) } else { Err(moved()) }
    }

    /// One transaction ends it for all: the epoch rises, and the halt goes.
    async fn finish(&self, store: &Arc<dyn Store>, halt_at: i64) -> Result<(), Failure> {
        let cluster = difference::cluster(&self.store, &self.memory);
        let value = serde_json::to_vec(&cluster).map_err(Failure::new)?;
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

fn moved() -> Failure {
    Failure::new("something changed in this very moment: look again, and say it once more")
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

/// In as many transactions as it takes, each only while the halt stands and nothing moved. What was done before
/// one was refused is found done by the next try.
async fn write(store: &Arc<dyn Store>, writes: BTreeMap<Key, Write>, halt_at: i64) -> Result<(), Failure> {
    let begin = || TxnBuilder::new().if_unchanged(&Key::Halt, halt_at);
    let mut txn = begin();
    for (key, write) in writes {
        let size = write.value.as_ref().map_or(0, String::len);
        if txn.writes() == AT_ONCE || (txn.writes() > 0 && txn.bytes() + size > BYTES) {
            commit(store, std::mem::replace(&mut txn, begin())).await?;
        }
        txn = txn.if_unchanged(&key, write.revision);
        txn = match write.value {
            Some(value) => txn.put(&key, value),
            None => txn.delete(&key),
        };
    }
    if txn.writes() > 0 { commit(store, txn).await } else { Ok(()) }
}

async fn commit(store: &Arc<dyn Store>, txn: TxnBuilder) -> Result<(), Failure> {
    if store.commit(&txn.build()?).await?.succeeded { Ok(()) } else { Err(moved()) }
}

/// What is stopped cannot be taken back, and may have been the only copy of what etcd forgot.
fn stops_nothing(difference: &Difference) -> Result<(), Failure> {
    let stopped: Vec<String> = difference
        .copies
        .iter()
        .filter(|copy| copy.runs)
        .map(|copy| format!("{} on {}", copy.id, copy.host))
        .collect();
    let Some(first) = stopped.first() else { return Ok(()) };
    Err(Failure::new(format!(
        "this stops {} copies that etcd does not know any more, such as {first}: `evenkeel recover` shows them all; \
         if that is meant, say it again with --yes",
        stopped.len()
    )))
}

fn show(view: &View, difference: &Difference, format: Format) -> Result<(), Failure> {
    if format != Format::Table {
        return structured(format, difference);
    }
    if let Some(halt) = &view.halt {
        say!("etcd went back to the past: {}", halt.why);
    }
    let names =
        |hosts: &BTreeSet<HostName>| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    let who = if view.remember.is_empty() { "nobody yet".to_owned() } else { names(&view.remember) };
    say!("who has told what it remembers: {who}");
    if !view.memory.complete {
        say!("no host that may lead is among them: documents cannot be compared");
    }
    say!();
    let rows = difference.documents.iter().map(|one| {
        let at = |revision: i64| if revision == 0 { "-".to_owned() } else { revision.to_string() };
        vec![one.object.to_string(), words(one.word).to_owned(), at(one.stands), at(one.remembered)]
    });
    table(
        &["DOCUMENT", "IN ETCD IT IS", "REVISION", "REMEMBERED"],
        rows.collect(),
        "all documents are as remembered",
    );
    say!();
    let rows = difference.copies.iter().map(|copy| {
        let (from_hosts, accept) =
            if copy.runs { ("runs on", "is stopped") } else { ("stays away", "is started") };
        vec![copy.id.to_string(), copy.host.to_string(), from_hosts.to_owned(), accept.to_owned()]
    });
    table(
        &["COPY", "HOST", "WITH --from-hosts", "WITH --accept-etcd"],
        rows.collect(),
        "all copies are as remembered",
    );
    say!();
    say!("evenkeel recover --from-hosts     what the hosts remember counts; nothing restarts");
    say!("evenkeel recover --accept-etcd    what etcd says now counts");
    Ok(())
}

fn words(word: Word) -> &'static str {
    match word {
        Word::Lost => "lost",
        Word::Older => "older",
        Word::Newer => "newer, and stays",
        Word::Returned => "back, though it was deleted",
        Word::New => "new, and stays",
    }
}

/// What was lost, in one line, for those who look at other things too.
///
/// # Errors
/// The store does not answer.
pub async fn summary(store: &Arc<dyn Store>) -> Result<Option<(Halt, String)>, Failure> {
    let view = View::read(store).await?;
    let Some(halt) = view.halt.clone() else { return Ok(None) };
    let difference = difference::difference(&view.store, &view.memory);
    let lost = difference.documents.iter().filter(|one| matches!(one.word, Word::Lost | Word::Older));
    let lost: Vec<String> = lost.map(|one| one.object.to_string()).collect();
    let named: Vec<&str> = lost.iter().take(5).map(String::as_str).collect();
    let more = lost.len() - named.len();
    let documents = match (lost.len(), more) {
        (0, _) => "no document".to_owned(),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more documents", named.join(", ")),
    };
    let copies = difference.copies.iter().filter(|copy| copy.runs).count();
    Ok(Some((
        halt,
        format!("lost or older in etcd: {documents}; copies that run and that it does not know: {copies}"),
    )))
}

#[cfg(test)]
mod tests;
