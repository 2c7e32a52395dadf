//! Handle of an owned partition: sends operations to the writer, reads from the view, and ends the partition.
//! Not here: the implemented seams (`mailbox`, `subscriptions`) and the decisions (`writer`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use pushgrid_store::{ErrorKind, LedgerSnapshot, ReadBarrier, StoreError, ViewError};
use pushgrid_types::{LeaderEpoch, Partition, Sequence, SubscriptionRef, UserAgentId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::aside::unreadable;
use crate::committer::{self, Waiter};
use crate::core::{Core, closed};
use crate::operation::{Operation, Reply};
use crate::owing::{self, Ended};
use crate::{Health, StopReason};

/// Mailbox and subscriptions of one partition.
///
/// Guarantee: the changes of a call are in the changelog and in the view when the call returns. Reads go to
/// the view and see these changes. After a failure as [`ErrorKind::Closed`], because the partition has
/// stopped meanwhile, the changes may have been written.
#[derive(Debug)]
pub struct PartitionStore {
    core: Arc<Core>,
    queue: mpsc::Sender<Operation>,
    flushes: mpsc::Sender<Waiter>,
    /// Ends in the log that wait for their receipts.
    owing: mpsc::Sender<Ended>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Counts since the take-over, and the present load, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Operations taken by the writer.
    pub operations: u64,
    /// Cycles of the writer.
    pub cycles: u64,
    /// Changes written by the writer.
    pub changes: u64,
    /// Appends checked or repeated for want of an answer.
    pub repeats: u64,
    /// Replays of the changelog into the view.
    pub catch_ups: u64,
    /// Commits of the offset.
    pub commits: u64,
    /// Operations queued for the writer.
    pub queue: usize,
    /// Open messages read from the log, and runs of acknowledged ones in between.
    pub window: usize,
    /// Messages in the mailbox.
    pub waiting: u64,
    /// User agents set aside now.
    pub aside: usize,
    /// Restorations of user agents.
    pub restored: u64,
}

impl PartitionStore {
    pub(crate) fn new(
        core: Arc<Core>,
        queue: mpsc::Sender<Operation>,
        flushes: mpsc::Sender<Waiter>,
        owing: mpsc::Sender<Ended>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        Self { core, queue, flushes, owing, tasks: Mutex::new(tasks) }
    }

    /// Number of the partition.
    pub fn partition(&self) -> Partition {
        self.core.context.partition
    }

    /// Fencing token of this owner.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.core.context.leader_epoch
    }

    /// Subscribes to the partition's health, present and future.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.core.context.health.subscribe()
    }

    /// Returns the reason once the partition has stopped. Cancel safe.
    pub async fn stopped(&self) -> StopReason {
        self.core.stopped().await
    }

    /// Snapshot of the counts.
    pub fn figures(&self) -> Figures {
        let counters = &self.core.figures;
        let (aside, restored) = {
            let all = self.core.aside();
            (all.now().len(), all.restorations())
        };
        let tracker = self.core.tracker();
        Figures {
            operations: counters.operations.load(Ordering::Relaxed),
            cycles: counters.cycles.load(Ordering::Relaxed),
            changes: counters.changes.load(Ordering::Relaxed),
            repeats: counters.repeats.load(Ordering::Relaxed),
            catch_ups: counters.catch_ups.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            queue: self.queue.max_capacity() - self.queue.capacity(),
            window: tracker.len(),
            waiting: tracker.waiting(),
            aside,
            restored,
        }
    }

    /// Account of the partition, as far as committed: behind by up to `commit_every`, and never going back.
    pub fn account(&self) -> LedgerSnapshot {
        self.core.account()
    }

    /// Sequence up to which the log has been read; earlier messages are in the account.
    pub fn read_to(&self) -> Sequence {
        self.core.tracker().read_to()
    }

    /// Returns once all earlier operations, and all ends settled by the consumer, are durable and committed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        owing::settled(&self.owing).await?;
        let (reply, done) = oneshot::channel();
        self.queue.send(Operation::Flush { reply }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())??;
        committer::committed(&self.flushes).await.map(drop)
    }

    /// Closes the partition: refuses new operations, finishes queued ones, commits, and stops. Bounded by
    /// `close_within`; after an error the next owner redelivers the uncommitted messages.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.core.close();
        let flushed = timeout(self.core.context.tuning.close_within, self.flush()).await;
        self.end(StopReason::Closed).await;
        flushed.unwrap_or_else(|_| Err(StoreError::new(ErrorKind::Unavailable, "not all was done in time")))
    }

    /// Stops at once without a commit, because the partition is lost. Operations under way fail as
    /// [`ErrorKind::Closed`].
    pub async fn abandon(&self) {
        self.end(StopReason::Abandoned).await;
    }

    async fn end(&self, why: StopReason) {
        self.core.stop(why);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                let span = &self.core.context.span;
                span.in_scope(|| tracing::error!(%error, "a task of the partition failed"));
            }
        }
    }

    /// Sends an operation to the writer, and waits for the answer. A full queue fails as
    /// [`ErrorKind::Unavailable`].
    pub(crate) async fn ask<T>(
        &self,
        operation: impl FnOnce(Reply<T>) -> Operation,
    ) -> Result<T, StoreError> {
        self.core.check_open()?;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(operation(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                StoreError::new(ErrorKind::Unavailable, "too many changes wait to be written")
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Read barrier for a call to the view.
    pub(crate) fn barrier(&self) -> Result<ReadBarrier, StoreError> {
        self.core.check_running()?;
        Ok(self.core.barrier())
    }

    /// True for a subscription readable only by a newer release: alive even if not in the view.
    pub(crate) fn has_newer(&self, id: &SubscriptionRef) -> bool {
        self.core.context.unreadable.has_newer(id)
    }

    /// Subscriptions of a user agent readable only by a newer release, alive even if not in the view.
    pub(crate) fn newer_of(&self, user_agent: UserAgentId) -> Vec<SubscriptionRef> {
        self.core.context.unreadable.newer_of(user_agent)
    }

    pub(crate) fn view(&self) -> &dyn pushgrid_store::View {
        &*self.core.context.view
    }

    /// Maps an answer of the view: fenced stops the partition, behind wakes the writer, unreadable sets the
    /// user agents aside.
    pub(crate) fn answer<T>(&self, answer: Result<T, ViewError>) -> Result<T, StoreError> {
        answer.map_err(|error| match error {
            ViewError::Fenced => {
                self.core.stop(StopReason::Fenced);
                closed()
            }
            ViewError::Behind(_) => {
                self.core.mend.notify_one();
                StoreError::new(ErrorKind::Unavailable, "the view is being caught up")
            }
            ViewError::Unreadable(of) => {
                self.core.set_aside(&of);
                unreadable()
            }
            ViewError::Store(error) => error,
        })
    }
}

impl Drop for PartitionStore {
    fn drop(&mut self) {
        self.core.stop(StopReason::Abandoned);
    }
}
