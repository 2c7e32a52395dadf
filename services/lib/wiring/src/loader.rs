//! Take-over of partitions over the changelog and Redis, and the health of all partitions of this router for
//! metrics and readiness. Restoring a partition is `store-changelog`; deciding its owner is the consumer
//! group's.
//! Invariant: the spare claim of a failed take-over goes to the next attempt for the same partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_runtime::Latch;
use pushgrid_runtime::metrics::{self, Meter, level};
use pushgrid_store::{Changelog, PartitionLoader, PartitionState, Share, StoreError, View};
use pushgrid_store_changelog::{Deps, Health, PartitionGauges, Receipts, SpareClaim, Tuning, take_over};
use pushgrid_store_redis::{Redis, RedisPresence, RedisView};
use pushgrid_types::Partition;
use tokio::sync::watch;

/// [`PartitionLoader`] over the changelog and a view in Redis.
#[derive(Debug)]
pub(crate) struct GridLoader {
    changelog: Arc<dyn Changelog>,
    view: Arc<dyn View>,
    redis: Redis,
    receipts: Receipts,
    partitions: Partitions,
    gauges: PartitionGauges,
    /// Claims of failed take-overs, for the next attempt.
    spare: Mutex<BTreeMap<Partition, SpareClaim>>,
}

/// Health of the partitions of a router, for metrics and readiness. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitions(Arc<Mutex<BTreeMap<Partition, watch::Receiver<Health>>>>);

impl GridLoader {
    pub(crate) fn new(
        changelog: Arc<dyn Changelog>,
        redis: Redis,
        receipts: Receipts,
        partitions: Partitions,
        meter: &Meter,
    ) -> Self {
        let (view, gauges) = (Arc::new(RedisView::new(redis.clone())), PartitionGauges::new(meter));
        Self { changelog, view, redis, receipts, partitions, gauges, spare: Mutex::default() }
    }

    fn spare_claim(&self, partition: Partition) -> SpareClaim {
        let mut spare = self.spare.lock();
        spare.entry(partition).or_default().clone()
    }
}

impl Partitions {
    /// No partitions yet. Take-overs and rebuilds are shown in `meter`.
    pub(crate) fn new(meter: &Meter) -> Self {
        let (busy, left) =
            (meter.gauge(&metrics::ROUTER_BUSY, &[]), meter.gauge(&metrics::ROUTER_CATCH_UP, &[]));
        let partitions = Self::default();
        let shown = partitions.clone();
        meter.on_scrape(move || {
            let all = shown.busy();
            let remaining = all.iter().map(|(_, health)| match health {
                Health::CatchingUp { at, end } => end.0.saturating_sub(at.0),
                Health::TakingOver | Health::Serving | Health::Full { .. } | Health::Stopped(_) => 0,
            });
            left.set(level(remaining.sum::<u64>()));
            busy.set(level(all.len()));
        });
        partitions
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, watch::Receiver<Health>>> {
        self.0.lock()
    }

    /// Health of each partition; the last one of a partition that has ended here.
    pub(crate) fn healths(&self) -> BTreeMap<Partition, Health> {
        self.lock().iter().map(|(partition, health)| (*partition, *health.borrow())).collect()
    }

    /// Partitions not serving yet, or not at the moment, with the reason.
    pub(crate) fn busy(&self) -> Vec<(Partition, Health)> {
        let all = self.lock();
        // A closed channel: the take-over was given up, and nobody works on the partition.
        let here = all.iter().filter(|(_, health)| health.has_changed().is_ok());
        let now = here.map(|(partition, health)| (*partition, *health.borrow()));
        now.filter(|(_, health)| {
            !matches!(health, Health::Serving | Health::Full { .. } | Health::Stopped(_))
        })
        .collect()
    }

    /// Shows the health of busy partitions as a note of a ready latch.
    pub(crate) fn show(&self, latch: &Latch) {
        let busy = self.busy();
        let texts = busy.iter().map(|(partition, health)| format!("partition {}: {health}", partition.0));
        let text = texts.collect::<Vec<_>>().join("; ");
        latch.note((!text.is_empty()).then_some(text));
    }
}

#[async_trait]
impl PartitionLoader for GridLoader {
    async fn take_over(&self, share: Share) -> Result<PartitionState, StoreError> {
        let partition = share.partition;
        let health = watch::Sender::new(Health::TakingOver);
        self.partitions.lock().insert(partition, health.subscribe());
        let taken = take_over(Deps {
            share,
            changelog: self.changelog.clone(),
            view: self.view.clone(),
            ends: None,
            receipts: Some(self.receipts.clone()),
            health,
            spare: self.spare_claim(partition),
            gauges: self.gauges.clone(),
            tuning: Tuning::default(),
        })
        .await?;
        let presence = RedisPresence::new(self.redis.clone(), partition, taken.leader_epoch);
        Ok(taken.into_state(Arc::new(presence)))
    }
}
