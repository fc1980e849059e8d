//! Whether etcd's members can be trusted with exclusive services; asked now and then, as they may be exchanged.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_plan::service::{UNKNOWN, no_exclusive};
use evenkeel_runtime::store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

const EVERY: Duration = Duration::from_secs(30);
/// While no member has told.
const AGAIN: Duration = Duration::from_secs(1);

/// Why no exclusive copy may be started, kept up to date.
pub(super) struct Fitness {
    told: watch::Receiver<Option<String>>,
    // Ends with it.
    _task: JoinSet<()>,
}

impl Fitness {
    /// `any`: people want exclusive services whatever the version.
    pub fn start(store: Arc<dyn Store>, any: bool) -> Self {
        let first = (!any).then(|| UNKNOWN.to_owned());
        let (tell, told) = watch::channel(first);
        let mut task = JoinSet::new();
        if !any {
            task.spawn(ask(store, tell));
        }
        Self { told, _task: task }
    }

    /// As it is known.
    pub fn no_exclusive(&mut self) -> Option<String> {
        self.told.borrow_and_update().clone()
    }

    /// Until it is another. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn ask(store: Arc<dyn Store>, tell: watch::Sender<Option<String>>) {
    loop {
        let pause = match store.versions().await {
            Ok(versions) => {
                let now = no_exclusive(&versions);
                tell.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
                EVERY
            }
            // What was known holds: members do not change while they are away.
            Err(_) => AGAIN,
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::memory::MemoryStore;

    use super::*;

    const A_MINUTE: Duration = Duration::from_secs(60);

    fn of_version(version: &str) -> MemoryStore {
        let store = MemoryStore::new(1);
        become_of(&store, version);
        store
    }

    fn become_of(store: &MemoryStore, version: &str) {
        store.set_versions([("m".to_owned(), version.to_owned())].into());
    }

    /// Whether it tells of a change within a minute.
    async fn changes(fitness: &mut Fitness) -> bool {
        tokio::time::timeout(A_MINUTE, fitness.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn why_nothing_exclusive_may_start_is_told_when_it_changes_and_not_otherwise() {
        let store = of_version("3.4.23");
        let mut fitness = Fitness::start(Arc::new(store.clone()), false);
        assert_eq!(fitness.no_exclusive().as_deref(), Some(UNKNOWN));
        assert!(changes(&mut fitness).await);
        assert!(fitness.no_exclusive().unwrap().contains("3.4.23"));
        assert!(!changes(&mut fitness).await);
        become_of(&store, "3.5.16");
        assert!(changes(&mut fitness).await);
        assert_eq!(fitness.no_exclusive(), None);
        assert!(!changes(&mut fitness).await);
    }

    #[tokio::test(start_paused = true)]
    async fn where_people_want_them_on_any_version_nothing_stands_in_the_way() {
        let mut fitness = Fitness::start(Arc::new(of_version("3.4.23")), true);
        assert_eq!(fitness.no_exclusive(), None);
        assert!(!changes(&mut fitness).await);
        assert_eq!(fitness.no_exclusive(), None);
    }
}
