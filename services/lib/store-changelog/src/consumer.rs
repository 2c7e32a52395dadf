//! The router's side of the feed: open messages out, settled ends in.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{End, ErrorKind, Flushing, LogConsumer, LogEnd, StoreError};
use pushgrid_types::{Message, Sequence};
use tokio::sync::mpsc;

use crate::StopReason;
use crate::committer::{self, Waiter};
use crate::core::{Core, closed};
use crate::owing::{self, Ended};

/// The router's side of one partition's log.
#[derive(Debug)]
pub(crate) struct Consumer {
    core: Arc<Core>,
    /// Ends that wait for their receipts.
    owing: mpsc::Sender<Ended>,
    flushes: mpsc::Sender<Waiter>,
    /// End of the log at the take-over.
    inherited_to: Sequence,
}

impl Consumer {
    pub(crate) fn new(
        core: Arc<Core>,
        owing: mpsc::Sender<Ended>,
        flushes: mpsc::Sender<Waiter>,
        inherited_to: Sequence,
    ) -> Self {
        Self { core, owing, flushes, inherited_to }
    }

    /// Next open messages; those ended meanwhile are skipped.
    fn take(&self, limit: usize) -> Vec<Arc<Message>> {
        let mut queue = self.core.feed.lock();
        let tracker = self.core.tracker();
        let mut taken = Vec::new();
        while taken.len() < limit.max(1)
            && let Some(message) = queue.pop()
        {
            if tracker.is_open(message.sequence) {
                taken.push(message);
            }
        }
        drop((tracker, queue));
        self.core.feed.make_room();
        taken
    }
}

#[async_trait]
impl LogConsumer for Consumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        loop {
            match self.core.has_stopped() {
                None => {}
                Some(StopReason::Failed) => return Err(closed()),
                Some(StopReason::Corrupt) => return Err(StoreError::plain(ErrorKind::Corrupt)),
                Some(StopReason::Fenced | StopReason::Lost | StopReason::Closed | StopReason::Abandoned) => {
                    return Ok(Vec::new());
                }
            }
            let batch = self.take(limit);
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.core.feed.woken().await;
        }
    }

    fn read_to(&self) -> Sequence {
        let queue = self.core.feed.lock();
        queue.next().unwrap_or_else(|| self.core.tracker().read_to())
    }

    fn inherited_to(&self) -> Sequence {
        self.inherited_to
    }

    fn end(&self) -> LogEnd {
        let offsets = Arc::clone(&self.core.offsets);
        LogEnd::Ask(Box::pin(async move { offsets.end().await }))
    }

    /// Without I/O: the tracker records the ends, and the next commit has them. Those that owe a receipt wait for it.
    fn settle(&self, mut ended: Vec<End>) {
        let core = &self.core;
        if core.has_stopped().is_some() {
            return;
        }
        ended.retain(|end| {
            let owes = core.context.owes_receipt(end);
            if owes {
                // Without the task the partition has stopped, and the message is redelivered.
                let _ = self.owing.try_send(Ended::Message(*end));
            }
            !owes
        });
        if !ended.is_empty() {
            core.settle(ended);
        }
    }

    fn flush(&self) -> Flushing {
        let (owing, flushes) = (self.owing.clone(), self.flushes.clone());
        Box::pin(async move {
            owing::settled(&owing).await?;
            match committer::committed(&flushes).await?.ends_left_out {
                0 => Ok(()),
                _ => Err(StoreError::new(ErrorKind::Unavailable, "not all ends have room in the commit")),
            }
        })
    }
}
