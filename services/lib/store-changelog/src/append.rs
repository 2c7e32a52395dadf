//! Appends to the changelog, retried with backoff until the place of each is known. Invariant: an append
//! without an answer is repeated only after the changelog has been read, and not once a later leader epoch
//! has begun there.

use std::sync::atomic::Ordering;

use pushgrid_store::{Change, ChangelogRecord, StoreError};
use pushgrid_types::cast::fitting;
use pushgrid_types::{LeaderEpoch, Position};

use crate::context::{Halt, PartitionContext};

/// Result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// At the place expected, ending at this position: nobody else has written since `at`.
    To(Position),
    /// Somewhere after `at`: the changelog has to be read from there.
    Somewhere,
}

/// State in the changelog of an append without an answer.
enum Found {
    All,
    NotAll,
    /// A later leader epoch has begun.
    Fenced,
}

impl PartitionContext {
    /// Appends `changes` after `at`, up to which the changelog is known. Calls `failed` for each attempt
    /// without an answer.
    ///
    /// If nobody else has written since `at`, the changes stand exactly at the expected place, and no claim
    /// can be between. Otherwise the changelog has to be read from there: a later leader epoch may have begun
    /// before them, which ends this one.
    pub(crate) async fn append(
        &self,
        at: Position,
        changes: &[Change],
        failed: impl Fn(),
    ) -> Result<Written, Halt> {
        let mut pause = self.pause();
        self.has_written.store(true, Ordering::Relaxed);
        let length = fitting::<u64>(changes.len());
        loop {
            let written = self.changelog.append(self.partition, self.leader_epoch, changes.to_vec()).await;
            match written {
                // A changelog that was made anew ends before `at`.
                Ok(to) if to.0.checked_sub(at.0) == Some(length) => return Ok(Written::To(to)),
                Ok(_) => return Ok(Written::Somewhere),
                Err(error) => self.after(error, &mut pause, "write to the changelog").await?,
            }
            failed();
            // Repeated after a later claim, a record that counts could be replaced by itself at compaction, and then
            // not count. So the changelog is read first.
            loop {
                match self.find(at, changes).await {
                    Ok(Found::All) => return Ok(Written::Somewhere),
                    Ok(Found::NotAll) => break,
                    Ok(Found::Fenced) => return Err(Halt::Fenced),
                    Err(error) => self.after(error, &mut pause, "read the changelog").await?,
                }
            }
        }
    }

    /// Compares `changes`, in order, with the changelog after `at`.
    async fn find(&self, at: Position, changes: &[Change]) -> Result<Found, StoreError> {
        let mut reading = self.changelog.read(self.partition, at).await?;
        let mut missing = changes.iter().peekable();
        loop {
            let records = reading.next(self.tuning.batch).await?;
            if records.is_empty() {
                return Ok(if missing.peek().is_none() { Found::All } else { Found::NotAll });
            }
            for record in records {
                let ChangelogRecord::Entry(entry) = record else { continue };
                let LeaderEpoch(by) = entry.by;
                if entry.change == Change::Claimed && by > self.leader_epoch.0 {
                    return Ok(Found::Fenced);
                }
                let _ = missing.next_if(|change| by == self.leader_epoch.0 && **change == entry.change);
            }
        }
    }
}
