use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{LedgerSnapshot, PartitionLifecycle, PartitionState};
use pushgrid_types::{Clock, LeaderEpoch};

use crate::consumer::ConsumerTaken;
use crate::{Embedded, EmbeddedPresence};

/// Leader epoch of whoever has the file: nobody else can have it, for its directory is locked.
const ONLY_OWNER: LeaderEpoch = LeaderEpoch(1);

impl Embedded {
    /// State of the one partition, to which all user agents belong, with a presence of its own. `clock` dates receipts.
    ///
    /// Errors: [`ConsumerTaken`] while another consumer is attached.
    pub fn partition(&self, clock: Arc<dyn Clock>) -> Result<PartitionState, ConsumerTaken> {
        self.date_by(clock);
        let store = Arc::new(self.clone());
        Ok(PartitionState {
            leader_epoch: ONLY_OWNER,
            consumer: Box::new(self.consumer()?),
            mailbox: store.clone(),
            subscriptions: store.clone(),
            presence: Arc::new(EmbeddedPresence::new()),
            lifecycle: store,
        })
    }
}

#[async_trait]
impl PartitionLifecycle for Embedded {
    fn account(&self) -> LedgerSnapshot {
        self.ledger().snapshot()
    }

    async fn close(&self) {
        self.close().await;
    }

    async fn ended(&self) {
        std::future::pending::<()>().await;
    }
}
