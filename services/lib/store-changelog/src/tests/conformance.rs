//! The suite of the seams, over the models and three ways to end a life.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{EventLog, StoreError};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::conformance::{self, Life, Parts};
use pushgrid_store_model::memory::{MemoryChangelog, MemoryPartitionLog, MemoryView};
use pushgrid_types::{ManualClock, Message, Partition, Sequence, Timestamp};
use tokio::sync::watch;

use crate::{
    Deps, Health, PartitionGauges, PartitionStore, Receipts, SpareClaim, TakenOver, Tuning, take_over,
};

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Asked to close.
    Closed,
    /// Last handle dropped.
    Dropped,
    /// Never ended: runs on while the next life begins.
    Overtaken,
    /// Dropped, and all of the view lost.
    Flushed,
}

#[derive(Debug, Clone)]
struct World {
    log: MemoryPartitionLog,
    changelog: MemoryChangelog,
    view: MemoryView,
    ending: Ending,
}

#[derive(Debug)]
struct Present {
    world: World,
    store: Arc<PartitionStore>,
}

/// Append that returns once the partition has read the message: the suite settles and stores messages that it was
/// never handed.
#[derive(Debug)]
struct ReadLog {
    log: MemoryPartitionLog,
    store: std::sync::Weak<PartitionStore>,
}

impl World {
    fn new(ending: Ending) -> Self {
        Self {
            log: MemoryPartitionLog::new(Partition(3)),
            changelog: MemoryChangelog::new(),
            view: MemoryView::new(),
            ending,
        }
    }

    async fn open(self) -> Parts {
        let now = Timestamp::from_secs(1_700_000_000);
        let (ends, feed) = ToldEnds::new(now);
        let clock = Arc::new(ManualClock::at(now));
        let receipts = Receipts { log: Arc::new(self.log.clone()), clock };
        let deps = Deps {
            share: self.log.share(),
            changelog: Arc::new(self.changelog.clone()),
            view: Arc::new(self.view.clone()),
            ends: Some(feed),
            receipts: Some(receipts),
            health: watch::channel(Health::default()).0,
            spare: SpareClaim::default(),
            gauges: PartitionGauges::default(),
            // Small, so that whatever goes in pieces does.
            tuning: Tuning { batch: 7, cycle: 13, ..Tuning::default() },
        };
        let TakenOver { consumer, store, ledger, .. } = take_over(deps).await.unwrap();
        Parts {
            log: Arc::new(ReadLog { log: self.log.clone(), store: Arc::downgrade(&store) }),
            consumer,
            mailbox: store.clone(),
            subscriptions: store.clone(),
            ledger,
            ends,
            now,
            life: Box::new(Present { world: self, store }),
        }
    }
}

async fn until_read(store: &PartitionStore, sequence: Sequence) {
    while store.read_to() <= sequence {
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl EventLog for ReadLog {
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let sequence = self.log.append(message).await?;
        until_read(&self.store.upgrade().unwrap(), sequence).await;
        Ok(sequence)
    }
}

#[async_trait]
impl Life for Present {
    async fn rest(&self) {
        until_read(&self.store, self.world.log.last()).await;
        self.store.flush().await.unwrap();
    }

    async fn reopen(self: Box<Self>) -> Parts {
        let Self { world, store } = *self;
        match world.ending {
            Ending::Closed => {
                store.close().await.unwrap();
                world.open().await
            }
            Ending::Dropped => {
                drop(store);
                world.open().await
            }
            Ending::Overtaken => {
                let parts = world.open().await;
                store.stopped().await;
                parts
            }
            Ending::Flushed => {
                drop(store);
                world.view.lose_everything();
                world.open().await
            }
        }
    }
}

async fn conforms(ending: Ending) {
    conformance::run(async || World::new(ending).open().await).await;
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_close() {
    conforms(Ending::Closed).await;
}

#[tokio::test]
async fn the_contracts_are_kept_over_a_drop() {
    conforms(Ending::Dropped).await;
}

#[tokio::test]
async fn the_contracts_are_kept_when_another_takes_over() {
    conforms(Ending::Overtaken).await;
}

#[tokio::test]
async fn the_contracts_are_kept_when_the_view_is_lost() {
    conforms(Ending::Flushed).await;
}
