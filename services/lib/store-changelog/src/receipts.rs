//! Receipts (RFC 8030 section 6.3): messages to application servers, in the log of the partition that their receipt
//! subscription belongs to.
//!
//! Invariant: the end of a message is counted, committed or written only after its receipt is in the log. A crash in
//! between makes the end again, and the receipt, which then is a repeat.

use std::sync::Arc;

use futures_util::future::join_all;
use pushgrid_store::{End, EventLog, StoreError};
use pushgrid_types::Clock;
use tokio::sync::{mpsc, oneshot};

use crate::StopReason;
use crate::context::{Halt, PartitionContext};
use crate::core::{Core, closed};

/// Most ends whose receipts are appended at a time.
const BATCH: usize = 512;

/// Way of receipts into the log.
#[derive(Debug, Clone)]
pub struct Receipts {
    /// The log of all partitions.
    pub log: Arc<dyn EventLog>,
    /// Dates receipts.
    pub clock: Arc<dyn Clock>,
}

/// Work of the task: bounded, for each end is of an open message.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Messages that ended in the log.
    Message(End),
    /// A flush: answered once all earlier ends are settled.
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

/// Waits until all ends queued before have their receipts, and are settled.
pub(crate) async fn settled(owing: &mpsc::UnboundedSender<Ended>) -> Result<(), StoreError> {
    let (reply, settled) = oneshot::channel();
    owing.send(Ended::Flush(reply)).map_err(|_| closed())?;
    settled.await.map_err(|_| closed())?
}

/// Appends the receipts of messages that ended in the log, and settles these, until the partition has stopped.
pub(crate) async fn run(core: Arc<Core>, mut queue: mpsc::UnboundedReceiver<Ended>) -> StopReason {
    let mut taken = Vec::new();
    loop {
        if queue.recv_many(&mut taken, BATCH).await == 0 {
            // The queue lives as long as the handles; without them the partition has stopped.
            return std::future::pending().await;
        }
        let (mut ended, mut flushes) = (Vec::new(), Vec::new());
        for taken in taken.drain(..) {
            match taken {
                Ended::Message(end) => ended.push(end),
                Ended::Flush(reply) => flushes.push(reply),
            }
        }
        // A message ends once; one that has ended meanwhile has given its receipt.
        ended.retain(|end| core.tracker().is_open(end.sequence));
        if let Err(halt) = core.context.append_receipts(&ended).await {
            return halt.stop();
        }
        core.settle(ended);
        for reply in flushes {
            // A caller may have gone away, which undoes nothing.
            let _ = reply.send(Ok(()));
        }
    }
}

impl PartitionContext {
    /// Appends the receipts that are due for `ends`, however long it takes.
    pub(crate) async fn append_receipts(&self, ends: &[End]) -> Result<(), Halt> {
        let Some(Receipts { log, clock }) = &self.receipts else { return Ok(()) };
        let now = clock.now();
        let mut left: Vec<_> = ends.iter().filter_map(|end| end.receipt(now)).collect();
        let mut pause = self.pause();
        while !left.is_empty() {
            let appended = join_all(left.iter().map(|receipt| log.append(receipt.clone()))).await;
            let (mut again, mut failed) = (Vec::new(), None);
            for (receipt, appended) in left.into_iter().zip(appended) {
                if let Err(error) = appended {
                    again.push(receipt);
                    failed = Some(error);
                }
            }
            left = again;
            if let Some(error) = failed {
                self.after(error, &mut pause, "append receipts").await?;
            }
        }
        Ok(())
    }

    /// True if the receipt of an end has to be appended first.
    pub(crate) fn owes_receipt(&self, end: &End) -> bool {
        self.receipts.is_some() && end.has_receipt()
    }
}
