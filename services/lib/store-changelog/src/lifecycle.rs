use async_trait::async_trait;
use pushgrid_store::{LedgerSnapshot, PartitionLifecycle};

use crate::{PartitionStore, StopReason};

#[async_trait]
impl PartitionLifecycle for PartitionStore {
    fn account(&self) -> LedgerSnapshot {
        self.account()
    }

    async fn close(&self) {
        if let Err(error) = self.close().await {
            tracing::info!(%error, "the next owner finishes the rest");
        }
    }

    async fn ended(&self) {
        if self.stopped().await == StopReason::Corrupt {
            tracing::error!("the partition has stopped: its stored data cannot be read");
        }
    }
}
