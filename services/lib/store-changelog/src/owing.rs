//! Messages that ended in the log and owe a receipt: it is appended first.

use std::collections::HashSet;
use std::sync::Arc;

use pushgrid_store::{End, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::StopReason;
use crate::core::{Core, closed};

/// Most ends whose receipts are appended at a time.
const BATCH: usize = 512;

/// Work of the task: bounded, for each end is of an open message.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Messages that ended in the log.
    Message(End),
    /// A flush: answered once all earlier ends are settled.
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

/// Waits until all ends queued before have their receipts, and are settled.
pub(crate) async fn settled(owing: &mpsc::Sender<Ended>) -> Result<(), StoreError> {
    let (reply, settled) = oneshot::channel();
    owing.send(Ended::Flush(reply)).await.map_err(|_| closed())?;
    settled.await.map_err(|_| closed())?
}

/// Appends the receipts of messages that ended in the log, and settles these, until the partition has stopped.
pub(crate) async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Ended>) -> StopReason {
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
        let mut first = HashSet::new();
        ended.retain(|end| first.insert(end.sequence) && core.tracker().is_open(end.sequence));
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
