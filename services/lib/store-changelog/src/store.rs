use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use pushgrid_store::{ErrorKind, Footing, LedgerSnapshot, StoreError, ViewError};
use pushgrid_types::{Partition, Sequence, Tenure};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::committer::Waiter;
use crate::core::{Core, closed};
use crate::operation::{Operation, Reply};
use crate::{Health, Stop};

/// The mailbox and the subscriptions of one partition.
///
/// Guarantee: what a call has changed is in the changelog and in the view when it returns. Reads go to the view and
/// see it. A call that fails as [`ErrorKind::Closed`] because the partition has stopped under it may have been written.
#[derive(Debug)]
pub struct PartitionStore {
    core: Arc<Core>,
    queue: mpsc::Sender<Operation>,
    flushes: mpsc::Sender<Waiter>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What has happened in a partition since it was taken over, and how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Operations that the writer has taken.
    pub operations: u64,
    /// Cycles in which it has done them.
    pub cycles: u64,
    /// Changes that it has written.
    pub changes: u64,
    /// Appends that were looked at or repeated, for they got no answer.
    pub repeats: u64,
    /// How often the view had to be brought up.
    pub catch_ups: u64,
    /// Commits.
    pub commits: u64,
    /// Operations that wait for the writer.
    pub queue: usize,
    /// Messages from the oldest that is not dealt with to the newest that was read.
    pub window: usize,
    /// Messages in the mailbox.
    pub waiting: u64,
}

impl PartitionStore {
    pub(crate) fn new(
        core: Arc<Core>,
        queue: mpsc::Sender<Operation>,
        flushes: mpsc::Sender<Waiter>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        Self { core, queue, flushes, tasks: Mutex::new(tasks) }
    }

    /// Which partition.
    pub fn partition(&self) -> Partition {
        self.core.ground.partition
    }

    /// By what right.
    pub fn tenure(&self) -> Tenure {
        self.core.ground.tenure
    }

    /// How it is doing, and how it goes on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.core.ground.health.subscribe()
    }

    /// Returns when the partition has stopped, for whatever reason. Cancel safe.
    pub async fn stopped(&self) -> Stop {
        self.core.stopped().await
    }

    /// What has happened.
    pub fn figures(&self) -> Figures {
        let counters = &self.core.figures;
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
        }
    }

    /// The account, as far as it stands for good: it lags behind by as long as a commit is put off, and never goes back.
    pub fn account(&self) -> LedgerSnapshot {
        self.core.account()
    }

    /// The sequence after the last that was read from the log: what lies before it is in the account.
    pub fn read_to(&self) -> Sequence {
        self.core.tracker().read_to()
    }

    /// Returns when everything that was asked for before, or settled by the consumer, is durable and committed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.queue.send(Operation::Flush { reply }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())??;
        let (waiter, committed) = oneshot::channel();
        self.flushes.send(waiter).await.map_err(|_| closed())?;
        committed.await.map_err(|_| closed())?
    }

    /// Takes no new operations, finishes those that were asked for, commits, and stops. Bounded in time; an error means
    /// that not all of it was done, and then the next owner does it again.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.core.close();
        let flushed = timeout(self.core.ground.tuning.close_within, self.flush()).await;
        self.end(Stop::Closed).await;
        flushed.unwrap_or_else(|_| Err(StoreError::new(ErrorKind::Unavailable, "not all was done in time")))
    }

    /// Stops at once, and commits nothing: the partition is lost. Operations under way fail as
    /// [`ErrorKind::Closed`].
    pub async fn abandon(&self) {
        self.end(Stop::Abandoned).await;
    }

    async fn end(&self, why: Stop) {
        self.core.stop(why);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, partition = self.partition().0, "a task of the partition failed");
            }
        }
    }

    /// Has the writer do something.
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

    /// From where to ask the view.
    pub(crate) fn footing(&self) -> Result<Footing, StoreError> {
        self.core.check_running()?;
        Ok(self.core.footing())
    }

    pub(crate) fn view(&self) -> &dyn pushgrid_store::View {
        &*self.core.ground.view
    }

    /// What an answer of the view comes to.
    pub(crate) fn answer<T>(&self, answer: Result<T, ViewError>) -> Result<T, StoreError> {
        answer.map_err(|error| match error {
            ViewError::Fenced => {
                self.core.stop(Stop::Fenced);
                closed()
            }
            ViewError::Behind(_) => {
                self.core.mend.notify_one();
                StoreError::new(ErrorKind::Unavailable, "the view is being caught up")
            }
            ViewError::Store(error) => error,
        })
    }
}

impl Drop for PartitionStore {
    fn drop(&mut self) {
        self.core.stop(Stop::Abandoned);
    }
}
