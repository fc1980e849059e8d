//! etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::key::Key;
use evenkeel_runtime::store::{
    Changes, Committed, Header, Kv, Lease, Listing, Store, StoreError, Txn, Watch,
};
use evenkeel_runtime::witness::Witness;
use tokio::time::Instant;

use crate::meter::Meter;

/// A store that counts what it is asked for, and how that ends.
#[derive(Debug)]
pub struct MeteredStore {
    store: Arc<dyn Store>,
    meter: Meter,
}

impl MeteredStore {
    /// Around a store that a controller asks. What is known of the store is on the page from now on.
    pub fn new(store: Arc<dyn Store>, meter: Meter) -> Self {
        meter.watches(store.witness().clone());
        Self { store, meter }
    }

    /// Around a further connection of the same controller, of which the page tells only what it is asked for.
    pub fn beside(store: Arc<dyn Store>, meter: Meter) -> Self {
        Self { store, meter }
    }

    async fn count<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = request.await;
        let figures = &self.meter.figures;
        figures.store_times.get_or_create(&[self.meter.of()]).observe(began.elapsed().as_secs_f64());
        if let Err(error) = &result {
            figures.store_errors.get_or_create(&[self.meter.of(), ("kind", kind(error))]).inc();
        }
        result
    }
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Unknown(_) => "timeout",
        StoreError::Full => "full",
        StoreError::Compacted(_) => "compacted",
        StoreError::LeaseGone => "lease_gone",
        StoreError::Refused(_) => "refused",
    }
}

#[async_trait]
impl Store for MeteredStore {
    fn witness(&self) -> &Arc<Witness> {
        self.store.witness()
    }

    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError> {
        self.count(self.store.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.count(self.store.list(prefix)).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        let result = self.count(self.store.commit(txn)).await;
        if !txn.writes().is_empty() {
            let outcome = match &result {
                Ok(Committed { succeeded: true, .. }) => "done",
                Ok(_) => "lost",
                Err(_) => "failed",
            };
            let labels = [self.meter.of(), ("outcome", outcome)];
            self.meter.figures.writes.get_or_create(&labels).inc();
        }
        result
    }

    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError> {
        let watch = self.count(self.store.watch(prefix, revision)).await?;
        Ok(Box::new(MeteredWatch { watch, meter: self.meter.clone() }))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.count(self.store.grant(ttl)).await
    }

    async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        self.count(self.store.renew(lease)).await
    }

    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.count(self.store.revoke(lease)).await
    }

    async fn versions(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.count(self.store.versions()).await
    }
}

/// A watch that counts its end.
struct MeteredWatch {
    watch: Box<dyn Watch>,
    meter: Meter,
}

#[async_trait]
impl Watch for MeteredWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        let next = self.watch.next().await;
        if let Err(error) = &next {
            let labels = [self.meter.of(), ("kind", kind(error))];
            self.meter.figures.watches_lost.get_or_create(&labels).inc();
        }
        next
    }
}
