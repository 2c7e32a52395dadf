//! State shared by the tasks and handles of an owned partition: tracker, position, health, account.
//! Invariant: the account shows an end only once committed, and so never goes back. Lock order: tracker, then
//! committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::{End, ErrorKind, Ledger, LedgerSnapshot, Offsets, ReadBarrier, StoreError};
use pushgrid_types::cast::saturating;
use pushgrid_types::{Outcome, Position, Sequence, UserAgentId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::aside::Aside;
use crate::claims::Claims;
use crate::context::PartitionContext;
use crate::feed::Feed;
use crate::tracker::Tracker;
use crate::{Health, StopReason};

/// Shared state of an owned partition.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) context: PartitionContext,
    /// Claims up to ours. A later one ends the partition.
    pub(crate) claims: Claims,
    pub(crate) offsets: Arc<dyn Offsets>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    /// Wakes the writer to replay the changelog, because the view is behind.
    pub(crate) mend: Notify,
    /// Wakes the committer after a change.
    pub(crate) commit: Notify,
    pub(crate) figures: Counters,
    tracker: Mutex<Tracker>,
    aside: Mutex<Aside>,
    /// Applied offset of the view. Raised by the writer alone.
    position: AtomicU64,
    closing: AtomicBool,
    /// Ends at the last commit, or at the take-over: final, whatever happens now.
    committed: Mutex<[u64; Outcome::ALL.len()]>,
}

/// Counters for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) operations: AtomicU64,
    pub(crate) cycles: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) catch_ups: AtomicU64,
    pub(crate) commits: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: usize) {
        counter.fetch_add(saturating::<u64>(by), Ordering::Relaxed);
    }
}

impl Core {
    pub(crate) fn new(
        context: PartitionContext,
        claims: Claims,
        offsets: Arc<dyn Offsets>,
        ledger: Arc<Ledger>,
        tracker: Tracker,
        position: Position,
    ) -> Self {
        Self {
            committed: Mutex::new(ledger.snapshot().ended),
            feed: Feed::new(&context.tuning),
            context,
            claims,
            offsets,
            ledger,
            mend: Notify::new(),
            commit: Notify::new(),
            figures: Counters::default(),
            tracker: Mutex::new(tracker),
            aside: Mutex::default(),
            position: AtomicU64::new(position.0),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock()
    }

    /// User agents set aside, under their lock.
    pub(crate) fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock()
    }

    /// Sets aside user agents unreadable in the view. True if one of them is new.
    pub(crate) fn set_aside(&self, user_agents: &[UserAgentId]) -> bool {
        self.context.span.in_scope(|| self.aside().enter(user_agents, Instant::now()))
    }

    /// Committed ends, under their lock.
    pub(crate) fn committed(&self) -> MutexGuard<'_, [u64; Outcome::ALL.len()]> {
        self.committed.lock()
    }

    /// Account as far as committed: an uncommitted end counts as pending, for a crash would redeliver the
    /// message.
    pub(crate) fn account(&self) -> LedgerSnapshot {
        // Under the lock of the tracker nothing is half entered.
        let _whole = self.tracker();
        let now = self.ledger.snapshot();
        let ended = *self.committed();
        let uncommitted = now.ended_total() - ended.iter().sum::<u64>();
        LedgerSnapshot { ended, pending: now.pending + uncommitted, ..now }
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    pub(crate) fn set_position(&self, position: Position) {
        self.position.store(position.0, Ordering::Release);
    }

    pub(crate) fn barrier(&self) -> ReadBarrier {
        self.context.barrier(self.position())
    }

    /// Settles messages that ended in the log: the tracker records the ends, and the next commit has them.
    pub(crate) fn settle(&self, mut ended: Vec<End>) {
        let mut tracker = self.tracker();
        let was_full = self.feed.full(&tracker).is_some();
        ended.retain(|end| {
            let is_first = tracker.settle(end.sequence, end.outcome);
            if is_first {
                self.ledger.end(end.outcome, 1);
            }
            is_first
        });
        drop(tracker);
        self.context.tell_ends(ended.into_iter());
        self.feed.was_full(was_full);
        self.commit.notify_one();
    }

    /// Stops the partition; the first reason is kept.
    pub(crate) fn stop(&self, why: StopReason) {
        let has_stopped = self.context.health.send_if_modified(|health| {
            let runs = !matches!(health, Health::Stopped(_));
            if runs {
                *health = Health::Stopped(why);
            }
            runs
        });
        if has_stopped {
            self.context.span.in_scope(|| tracing::info!(%why, "the partition has stopped here"));
            self.feed.wake();
        }
    }

    /// Reason of the stop, if stopped.
    pub(crate) fn has_stopped(&self) -> Option<StopReason> {
        match *self.context.health.borrow() {
            Health::Stopped(why) => Some(why),
            Health::TakingOver | Health::CatchingUp { .. } | Health::Serving | Health::Full { .. } => None,
        }
    }

    /// Returns once the partition has stopped.
    pub(crate) async fn stopped(&self) -> StopReason {
        let mut health = self.context.health.subscribe();
        loop {
            if let Health::Stopped(why) = *health.borrow_and_update() {
                return why;
            }
            if health.changed().await.is_err() {
                return StopReason::Abandoned;
            }
        }
    }

    pub(crate) fn serve(&self) {
        self.context.health.send_if_modified(|health| {
            let changes = !matches!(health, Health::Serving | Health::Stopped(_));
            if changes {
                *health = Health::Serving;
            }
            changes
        });
    }

    /// Shows a full window with its oldest open message, or serving. Other states are left.
    pub(crate) fn show_full(&self, at: Option<Sequence>) {
        let now = at.map_or(Health::Serving, |at| Health::Full { at });
        self.context.health.send_if_modified(|health| {
            let changes = matches!(health, Health::Serving | Health::Full { .. }) && *health != now;
            if changes {
                *health = now;
            }
            changes
        });
    }

    /// Refuses new operations from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Acquire) { Err(closed()) } else { self.check_running() }
    }

    pub(crate) fn check_running(&self) -> Result<(), StoreError> {
        if self.has_stopped().is_some() { Err(closed()) } else { Ok(()) }
    }
}

pub(crate) fn closed() -> StoreError {
    StoreError::plain(ErrorKind::Closed)
}
