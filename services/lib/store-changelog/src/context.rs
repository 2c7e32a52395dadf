//! Identity, dependencies and bounds of a partition, shared by the take-over and the tasks, with the rule for
//! every failure: retry with backoff, or stop. Not here: changing state (`core`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pushgrid_runtime::Backoff;
use pushgrid_store::{
    Change, Changelog, End, EndFeed, ErrorKind, History, ReadBarrier, StoreError, View, ViewError,
};
use pushgrid_types::{LeaderEpoch, Partition, Position};
use tokio::sync::watch;
use tracing::Span;

use crate::aside::unreadable;
use crate::unreadable::UnreadableKeys;
use crate::{Health, Receipts, StopReason, Tuning};

/// Context of a partition, from the take-over on.
#[derive(Debug)]
pub(crate) struct PartitionContext {
    pub(crate) partition: Partition,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Identity of the changelog; a view of another one is discarded.
    pub(crate) history: History,
    /// Set once anything but the claim may stand in the changelog under this leader epoch.
    pub(crate) has_written: AtomicBool,
    /// Keys whose last record is unreadable.
    pub(crate) unreadable: UnreadableKeys,
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) view: Arc<dyn View>,
    pub(crate) ends: Option<EndFeed>,
    pub(crate) receipts: Option<Receipts>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) tuning: Tuning,
    /// Span of the partition, for lines from tasks of others.
    pub(crate) span: Span,
}

/// Failures fatal to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// A later leader epoch has begun.
    Fenced,
    /// The log or a store is closing, or was assigned to another router.
    Closed,
    /// Unreadable data, beyond any retry.
    Corrupt,
}

/// Result of a call to the view.
#[derive(Debug)]
pub(crate) enum ReadResult<T> {
    Answered(T),
    /// Stale: the changelog has to be replayed first.
    Behind,
    /// Failed, and the backoff is over: call again.
    Again,
}

impl PartitionContext {
    pub(crate) fn pause(&self) -> Backoff {
        Backoff::new(self.tuning.first_pause, self.tuning.max_pause)
    }

    pub(crate) fn barrier(&self, position: Position) -> ReadBarrier {
        ReadBarrier { partition: self.partition, leader_epoch: self.leader_epoch, position }
    }

    /// Number of leading changes for one call to the view, at least one.
    pub(crate) fn batch(&self, changes: &[Change]) -> usize {
        let mut octets = 0;
        let fitting = changes.iter().take(self.tuning.batch).take_while(|change| {
            let fits = octets < self.tuning.batch_octets;
            if let Change::Stored { message, .. } = change {
                octets += message.weight();
            }
            fits
        });
        fitting.count().max(1)
    }

    /// Tells of durable ends.
    pub(crate) fn tell_ends(&self, ends: impl Iterator<Item = End>) {
        if let Some(feed) = &self.ends {
            feed.tell(&ends.collect::<Vec<_>>());
        }
    }

    /// Appends the receipts that are due for `ends`, however long it takes.
    pub(crate) async fn append_receipts(&self, ends: &[End]) -> Result<(), Halt> {
        let Some(receipts) = &self.receipts else { return Ok(()) };
        let now = receipts.clock.now();
        let mut left: Vec<_> = ends.iter().filter_map(|end| end.receipt(now)).collect();
        let mut pause = self.pause();
        while !left.is_empty() {
            if let Some(error) = receipts.append(&mut left).await {
                self.after(error, &mut pause, "append receipts").await?;
            }
        }
        Ok(())
    }

    /// True if the receipt of an end has to be appended first.
    pub(crate) fn owes_receipt(&self, end: &End) -> bool {
        self.receipts.is_some() && end.has_receipt()
    }

    /// Classifies an answer of the view; after a passing failure waits for the backoff.
    pub(crate) async fn asked<T>(
        &self,
        answer: Result<T, ViewError>,
        pause: &mut Backoff,
        what: &'static str,
    ) -> Result<ReadResult<T>, Halt> {
        match answer {
            Ok(answer) => Ok(ReadResult::Answered(answer)),
            Err(ViewError::Fenced) => Err(Halt::Fenced),
            Err(ViewError::Behind(_)) => Ok(ReadResult::Behind),
            // Callers that ask about user agents leave out those set aside first.
            Err(ViewError::Unreadable(_)) => {
                pause.wait_after(&unreadable(), what).await;
                Ok(ReadResult::Again)
            }
            // A view can be rebuilt, and the next owner would meet the same: so nothing that it holds stops the
            // partition.
            Err(ViewError::Store(error)) if error.kind != ErrorKind::Closed => {
                pause.wait_after(&error, what).await;
                Ok(ReadResult::Again)
            }
            Err(ViewError::Store(_)) => Err(Halt::Closed),
        }
    }

    /// Waits for the backoff after a passing failure; any other is returned as a [`Halt`].
    pub(crate) async fn after(
        &self,
        error: StoreError,
        pause: &mut Backoff,
        what: &'static str,
    ) -> Result<(), Halt> {
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => {
                pause.wait_after(&error, what).await;
                Ok(())
            }
            ErrorKind::Closed => Err(Halt::Closed),
            ErrorKind::Corrupt => {
                tracing::error!(%error, "could not {what}");
                Err(Halt::Corrupt)
            }
        }
    }

    /// Begins the leader epoch in the view, again if need be, and returns the view's position. A view of
    /// another changelog is discarded first.
    pub(crate) async fn begin(&self) -> Result<Position, Halt> {
        let mut pause = self.pause();
        let is_signed = self.discard_foreign(&mut pause).await?;
        loop {
            let answer = self.view.begin(self.partition, self.leader_epoch).await;
            let ReadResult::Answered(at) = self.asked(answer, &mut pause, "begin with the view").await?
            else {
                continue;
            };
            if is_signed {
                return Ok(at);
            }
            let answer = self.view.sign(self.partition, self.leader_epoch, self.history).await;
            if let ReadResult::Answered(()) = self.asked(answer, &mut pause, "sign the view").await? {
                return Ok(at);
            }
        }
    }
}

impl Halt {
    pub(crate) const fn stop(self) -> StopReason {
        match self {
            Self::Fenced => StopReason::Fenced,
            Self::Closed => StopReason::Lost,
            Self::Corrupt => StopReason::Corrupt,
        }
    }

    /// Error for waiting callers.
    pub(crate) fn error(self) -> StoreError {
        match self {
            Self::Fenced => StoreError::new(ErrorKind::Closed, "another router has taken the partition over"),
            Self::Closed => StoreError::plain(ErrorKind::Closed),
            Self::Corrupt => StoreError::new(ErrorKind::Corrupt, "the partition cannot be read"),
        }
    }
}
