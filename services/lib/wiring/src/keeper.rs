use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use pushgrid_router::{Estate, Keeper, Life};
use pushgrid_runtime::Latch;
use pushgrid_store::{Changelog, LedgerSnapshot, Share, StoreError, View};
use pushgrid_store_changelog::{Deps, Figures, Health, PartitionStore, Stop, Tuning, take_over};
use pushgrid_store_redis::{Redis, RedisPresence, RedisView};
use pushgrid_types::{Partition, Tenure};
use tokio::sync::watch;

/// Keeps partitions in the changelog and in Redis.
#[derive(Debug)]
pub(crate) struct GridKeeper {
    changelog: Arc<dyn Changelog>,
    view: Arc<dyn View>,
    redis: Redis,
    partitions: Partitions,
}

/// How the partitions of a router are doing, for its operator. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitions(Arc<Mutex<BTreeMap<Partition, Looked>>>);

/// A partition, as it is looked at.
#[derive(Debug)]
struct Looked {
    health: watch::Receiver<Health>,
    /// From when it is taken over.
    store: Weak<PartitionStore>,
}

impl GridKeeper {
    pub(crate) fn new(changelog: Arc<dyn Changelog>, redis: Redis, partitions: Partitions) -> Self {
        Self { changelog, view: Arc::new(RedisView::new(redis.clone())), redis, partitions }
    }
}

impl Partitions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Looked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are not serving yet, or not at the moment, and why.
    pub(crate) fn busy(&self) -> Vec<(Partition, Health)> {
        let mut all = self.lock();
        all.retain(|_, looked| !matches!(*looked.health.borrow(), Health::Stopped(_)));
        let now = all.iter().map(|(partition, looked)| (*partition, *looked.health.borrow()));
        now.filter(|(_, health)| *health != Health::Serving).collect()
    }

    /// What has happened in those that are owned, and how full they are.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        self.lock().values().filter_map(|looked| Some(looked.store.upgrade()?.figures())).collect()
    }

    /// Shows at a latch that is ready what some of the partitions are busy with.
    pub(crate) fn show(&self, latch: &Latch) {
        let busy = self.busy();
        let texts = busy.iter().map(|(partition, health)| format!("partition {}: {health}", partition.0));
        let text = texts.collect::<Vec<_>>().join("; ");
        latch.note((!text.is_empty()).then_some(text));
    }
}

#[async_trait]
impl Keeper for GridKeeper {
    async fn take_over(&self, share: Share) -> Result<Estate, StoreError> {
        let partition = share.partition;
        let health = watch::Sender::new(Health::TakingOver);
        let looked = Looked { health: health.subscribe(), store: Weak::new() };
        self.partitions.lock().insert(partition, looked);
        let taken = take_over(Deps {
            share,
            changelog: self.changelog.clone(),
            view: self.view.clone(),
            health,
            tuning: Tuning::default(),
        })
        .await?;
        if let Some(looked) = self.partitions.lock().get_mut(&partition) {
            looked.store = Arc::downgrade(&taken.store);
        }
        let tenure: Tenure = taken.tenure;
        let presence = RedisPresence::new(self.redis.clone(), partition, tenure);
        Ok(Estate {
            tenure,
            consumer: taken.consumer,
            mailbox: taken.store.clone(),
            subscriptions: taken.store.clone(),
            presence: Arc::new(presence),
            life: Arc::new(OfStore(taken.store)),
        })
    }
}

#[derive(Debug)]
struct OfStore(Arc<PartitionStore>);

#[async_trait]
impl Life for OfStore {
    fn account(&self) -> LedgerSnapshot {
        self.0.account()
    }

    async fn close(&self) {
        if let Err(error) = self.0.close().await {
            tracing::info!(partition = self.0.partition().0, %error, "the next owner does what is left");
        }
    }

    async fn ended(&self) {
        if self.0.stopped().await == Stop::Corrupt {
            let partition = self.0.partition().0;
            tracing::error!(partition, "a partition has stopped: what keeps it cannot be read");
        }
    }
}
