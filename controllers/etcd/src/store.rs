//! The store over etcd.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, CompareOp, GetOptions, PutOptions, TxnOp};
use evenkeel_api::key::{Key, prefix};
use evenkeel_runtime::store::{
    Committed, Compare, Header, Kv, Lease, Listing, Op, Store, StoreError, Txn, Watch,
};
use evenkeel_runtime::witness::Witness;

use crate::MAX_MESSAGE;
use crate::config::{ConfigError, EtcdConfig};
use crate::keys::{Prefix, header};
use crate::leases::{self, Leases};
use crate::members::{Member, Members, Repeat};
use crate::watching::{self, EtcdWatch};

/// What each member is given for a whole prefix.
const LIST_ATTEMPT: Duration = Duration::from_secs(15);

/// The store over etcd; a cheap handle. Connections are made when first needed, and made anew for ever.
#[derive(Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

struct Inner {
    members: Arc<Members>,
    attempt: Duration,
    leases: Leases,
    prefix: Prefix,
    witness: Arc<Witness>,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// A store that will connect when first asked.
    ///
    /// # Errors
    /// No endpoint is given, or a certificate cannot be read.
    pub fn new(config: &EtcdConfig) -> Result<Self, ConfigError> {
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        let members = |attempt| -> Result<Arc<Members>, ConfigError> {
            Ok(Arc::new(Members::new(&config.endpoints, &config.options(attempt)?)))
        };
        // Chance that differs from process to process is all that jitter needs here.
        let seed = RandomState::new().hash_one(&config.endpoints);
        let inner = Inner {
            members: members(config.attempt)?,
            attempt: config.attempt,
            leases: Leases::new(members(leases::ATTEMPT)?),
            prefix: Prefix::new(&config.prefix),
            witness: Arc::new(Witness::new(seed)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn range(
        &self,
        key: String,
        options: Option<GetOptions>,
        attempt: Duration,
    ) -> Result<Listing, StoreError> {
        let asked = self.inner.witness.asking();
        let (key, options) = (&key, &options);
        let get = |client: Client, _: &Member| async move {
            let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            kv.get(key.as_str(), options.clone()).await
        };
        let mut answer = self.inner.members.ask(Repeat::Always, attempt, get).await?;
        let header = header(answer.header());
        self.inner.witness.answered(asked, &header);
        let kvs = answer.take_kvs().into_iter().filter_map(|kv| self.inner.prefix.kv(kv.0)).collect();
        Ok(Listing { kvs, header })
    }

    fn compare(&self, compare: &Compare) -> etcd_client::Compare {
        let full = |key: &String| self.inner.prefix.full(key);
        match compare {
            Compare::ModRevision(key, revision) => {
                etcd_client::Compare::mod_revision(full(key), CompareOp::Equal, *revision)
            }
            Compare::Lease(key, lease) => etcd_client::Compare::lease(full(key), CompareOp::Equal, *lease),
        }
    }

    fn write(&self, op: &Op) -> TxnOp {
        let full = |key: &String| self.inner.prefix.full(key);
        match op {
            Op::Put(key, value, lease) => {
                let options = (*lease != 0).then(|| PutOptions::new().with_lease(*lease));
                TxnOp::put(full(key), value.to_vec(), options)
            }
            Op::Delete(key) => TxnOp::delete(full(key), None),
            Op::Get(key) => TxnOp::get(full(key), None),
        }
    }

    /// Reads stand in both branches: a transaction without an operation is not linearizable.
    fn transaction(&self, txn: &Txn) -> etcd_client::Txn {
        let compares: Vec<_> = txn.compares().iter().map(|compare| self.compare(compare)).collect();
        let reads: Vec<_> =
            txn.reads().iter().map(|key| TxnOp::get(self.inner.prefix.full(key), None)).collect();
        let mut then: Vec<_> = txn.writes().iter().map(|op| self.write(op)).collect();
        then.extend(reads.iter().cloned());
        let otherwise = if reads.is_empty() { self.reads_of_writes(txn) } else { reads };
        etcd_client::Txn::new().when(compares).and_then(then).or_else(otherwise)
    }

    /// Something to read where a transaction that only writes is refused: the refusal must be the
    /// cluster's, not the memory of one member that was cut off.
    fn reads_of_writes(&self, txn: &Txn) -> Vec<TxnOp> {
        let first = txn.writes().iter().map(|op| {
            let (Op::Put(key, ..) | Op::Delete(key) | Op::Get(key)) = op;
            TxnOp::get(self.inner.prefix.full(key), Some(GetOptions::new().with_keys_only()))
        });
        first.take(1).collect()
    }
}

#[async_trait]
impl Store for EtcdStore {
    fn witness(&self) -> &Arc<Witness> {
        &self.inner.witness
    }

    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError> {
        let key = self.inner.prefix.full(&key.to_string());
        let mut listing = self.range(key, None, self.inner.attempt).await?;
        Ok((listing.kvs.pop(), listing.header))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let options = prefix::is_wide(prefix).then(|| GetOptions::new().with_prefix());
        self.range(self.inner.prefix.full(prefix), options, LIST_ATTEMPT).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        let asked = self.inner.witness.asking();
        let transaction = &self.transaction(txn);
        let send = |client: Client, _: &Member| async move {
            let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            kv.txn(transaction.clone()).await
        };
        let repeat = if txn.writes().is_empty() { Repeat::Always } else { Repeat::IfNotDone };
        let answer = self.inner.members.ask(repeat, self.inner.attempt, send).await.inspect_err(|error| {
            if *error == StoreError::Full {
                self.inner.witness.set_full(true);
            }
        })?;
        let header = header(answer.header());
        self.inner.witness.answered(asked, &header);
        let succeeded = answer.succeeded();
        if succeeded && !txn.writes().is_empty() {
            self.inner.witness.wrote(header.revision, txn.written());
            if txn.writes().iter().any(|op| matches!(op, Op::Put(..))) {
                self.inner.witness.set_full(false);
            }
        }
        let skip = if succeeded { txn.writes().len() } else { 0 };
        let reads = answer.op_responses().into_iter().skip(skip).take(txn.reads().len());
        let reads = reads.map(|response| match response {
            etcd_client::TxnOpResponse::Get(mut read) => {
                read.take_kvs().pop().and_then(|kv| self.inner.prefix.kv(kv.0))
            }
            _ => None,
        });
        Ok(Committed { succeeded, reads: reads.collect(), header })
    }

    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError> {
        let key = &self.inner.prefix.full(prefix);
        let open = |client: Client, member: &Member| {
            watching::open(client, key.clone(), prefix::is_wide(prefix), revision + 1, member.failures())
        };
        let opened = self.inner.members.ask(Repeat::Always, self.inner.attempt, open).await?;
        let (prefix, witness) = (self.inner.prefix.clone(), self.inner.witness.clone());
        Ok(Box::new(EtcdWatch::new(opened, prefix, witness, revision)?))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let granted = self.inner.leases.grant(ttl).await;
        if granted == Err(StoreError::Full) {
            self.inner.witness.set_full(true);
        }
        granted
    }

    async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        self.inner.leases.renew(lease).await
    }

    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.inner.leases.revoke(lease).await
    }

    async fn versions(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.inner.members.versions(self.inner.attempt).await
    }
}
