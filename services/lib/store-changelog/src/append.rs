//! Writing to the changelog, however long that takes.

use pushgrid_store::{Change, StoreError};
use pushgrid_types::{Position, Tenure};

use crate::ground::{Ground, Halt};

/// How an append has come to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Up to this position. Nobody else has written since `at`.
    To(Position),
    /// Somewhere after `at`: the changelog has to be read from there.
    Somewhere,
}

/// What the changelog has of an append that got no answer.
enum Found {
    All,
    NotAll,
    /// A later tenure has begun.
    Fenced,
}

impl Ground {
    /// Writes `changes` after `at`, up to which the changelog is known. Calls `failed` for each time that got no answer.
    ///
    /// If nobody else has written since `at`, the changes stand exactly where they were expected, and no claim can be
    /// between. Else the changelog has to be read from there: it knows whether a later tenure had begun before they
    /// were written, which is the end of this one.
    pub(crate) async fn append(
        &self,
        at: Position,
        changes: &[Change],
        failed: impl Fn(),
    ) -> Result<Written, Halt> {
        let mut pause = self.pause();
        loop {
            let written = self.changelog.append(self.partition, self.tenure, changes.to_vec()).await;
            match written {
                Ok(to) if to.0 - at.0 == u64::try_from(changes.len()).expect("a length fits 64 bits") => {
                    return Ok(Written::To(to));
                }
                Ok(_) => return Ok(Written::Somewhere),
                Err(error) => self.after(error, &mut pause, "write to the changelog").await?,
            }
            failed();
            // A record that is repeated after a later claim could take the place of itself, where it counts, when the
            // changelog is compacted. So what is there is looked at first.
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

    /// Whether the changelog has all of `changes` after `at`.
    async fn find(&self, at: Position, changes: &[Change]) -> Result<Found, StoreError> {
        let mut reading = self.changelog.read(self.partition, at).await?;
        let mut missing = changes.iter().peekable();
        loop {
            let entries = reading.next(self.tuning.batch).await?;
            if entries.is_empty() {
                return Ok(if missing.peek().is_none() { Found::All } else { Found::NotAll });
            }
            for entry in entries {
                let Tenure(by) = entry.by;
                if entry.change == Change::Claimed && by > self.tenure.0 {
                    return Ok(Found::Fenced);
                }
                let _ = missing.next_if(|change| by == self.tenure.0 && **change == entry.change);
            }
        }
    }
}
