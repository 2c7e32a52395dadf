use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pushgrid_store::{ErrorKind, Footing, Ledger, LedgerSnapshot, Offsets, StoreError};
use pushgrid_types::{Outcome, Position};
use tokio::sync::Notify;

use crate::claims::Claims;
use crate::feed::Feed;
use crate::ground::Ground;
use crate::tracker::Tracker;
use crate::{Health, Stop};

/// What the tasks and the handles of a partition have in common.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) ground: Ground,
    /// The claims before ours. None comes after: a later one ends all this.
    pub(crate) claims: Claims,
    pub(crate) offsets: Arc<dyn Offsets>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    /// Wakes the writer though nobody asks for a change: the view has lost something.
    pub(crate) mend: Notify,
    /// Wakes the committer: there is something to commit.
    pub(crate) commit: Notify,
    pub(crate) figures: Counters,
    tracker: Mutex<Tracker>,
    /// Where the view was told to be. Raised by the writer alone.
    position: AtomicU64,
    closing: AtomicBool,
    /// What had ended when it was committed last, or taken over: that much stands, whatever happens now.
    committed: Mutex<[u64; Outcome::ALL.len()]>,
}

/// What has happened, counted.
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
        counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Core {
    pub(crate) fn new(
        ground: Ground,
        claims: Claims,
        offsets: Arc<dyn Offsets>,
        ledger: Arc<Ledger>,
        tracker: Tracker,
        position: Position,
    ) -> Self {
        Self {
            committed: Mutex::new(ledger.snapshot().ended),
            feed: Feed::new(&ground.tuning),
            ground,
            claims,
            offsets,
            ledger,
            mend: Notify::new(),
            commit: Notify::new(),
            figures: Counters::default(),
            tracker: Mutex::new(tracker),
            position: AtomicU64::new(position.0),
            closing: AtomicBool::new(false),
        }
    }

    /// A poisoned lock is taken as it is: whoever panicked has left the tracker between two whole steps.
    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ends that are committed.
    pub(crate) fn committed(&self) -> MutexGuard<'_, [u64; Outcome::ALL.len()]> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account as it stands for good: what has ended and is not committed yet counts as pending, for it would come
    /// again after a crash.
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

    pub(crate) fn footing(&self) -> Footing {
        self.ground.footing(self.position())
    }

    /// Ends the partition, unless it has ended: the first reason is kept.
    pub(crate) fn stop(&self, why: Stop) {
        let has_stopped = self.ground.health.send_if_modified(|health| {
            let runs = !matches!(health, Health::Stopped(_));
            if runs {
                *health = Health::Stopped(why);
            }
            runs
        });
        if has_stopped {
            tracing::info!(partition = self.ground.partition.0, %why, "the partition has stopped here");
            self.feed.wake();
        }
    }

    /// Why it has ended, if it has.
    pub(crate) fn has_stopped(&self) -> Option<Stop> {
        match *self.ground.health.borrow() {
            Health::Stopped(why) => Some(why),
            Health::TakingOver | Health::CatchingUp { .. } | Health::Serving => None,
        }
    }

    /// Returns when it has ended.
    pub(crate) async fn stopped(&self) -> Stop {
        let mut health = self.ground.health.subscribe();
        loop {
            if let Health::Stopped(why) = *health.borrow_and_update() {
                return why;
            }
            if health.changed().await.is_err() {
                return Stop::Abandoned;
            }
        }
    }

    pub(crate) fn serve(&self) {
        self.ground.health.send_if_modified(|health| {
            let changes = !matches!(health, Health::Serving | Health::Stopped(_));
            if changes {
                *health = Health::Serving;
            }
            changes
        });
    }

    /// No new operations from now on.
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
