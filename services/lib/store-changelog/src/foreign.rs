//! Views of a changelog other than the one beside: the topics were made anew, or Redis came from somewhere
//! else. A view can be rebuilt, so a foreign one is discarded.

use pushgrid_runtime::Backoff;
use pushgrid_store::{Change, ChangelogRecord, Stamp, StoreError};
use pushgrid_types::Position;

use crate::context::{Halt, PartitionContext, ReadResult};

impl PartitionContext {
    /// Discards a view of another changelog. True if the view then bears this changelog's identity.
    pub(crate) async fn discard_foreign(&self, pause: &mut Backoff) -> Result<bool, Halt> {
        loop {
            let answer = self.view.stamp(self.partition).await;
            let ReadResult::Answered(stamp) = self.asked(answer, pause, "read the stamp of the view").await?
            else {
                continue;
            };
            let Some(stamp) = stamp else { return Ok(false) };
            match self.what_is_foreign(&stamp).await {
                Ok(None) => return Ok(stamp.history.is_some()),
                Ok(Some(why)) => {
                    tracing::error!(
                        leader_epoch = stamp.leader_epoch.0,
                        position = stamp.position.0,
                        "the view {why}: it is discarded, and rebuilt from the changelog"
                    );
                    let answer = self.view.discard(self.partition, self.leader_epoch, self.history).await;
                    if let ReadResult::Answered(()) = self.asked(answer, pause, "discard the view").await? {
                        return Ok(true);
                    }
                }
                Err(error) => self.after(error, pause, "compare the view with the changelog").await?,
            }
        }
    }

    /// Reason to take the view for one of another changelog; `None` if possibly of this one.
    ///
    /// A router that fences this one claims in the changelog before telling the view. So a later leader epoch
    /// without a claim there belongs to another changelog, and is no reason to stop.
    async fn what_is_foreign(&self, stamp: &Stamp) -> Result<Option<&'static str>, StoreError> {
        if stamp.history.is_some_and(|history| history != self.history) {
            return Ok(Some("is of another changelog"));
        }
        let is_later = stamp.leader_epoch > self.leader_epoch;
        // Our claim stands before `leader_epoch`, so the changelog goes at least so far.
        if !is_later && stamp.position.0 <= self.leader_epoch.0 {
            return Ok(None);
        }
        let from = if is_later { Position(stamp.leader_epoch.0 - 1) } else { stamp.position };
        let mut reading = self.changelog.read(self.partition, from).await?;
        let end = reading.end();
        if stamp.position > end || stamp.leader_epoch.0 > end.0 {
            return Ok(Some("is ahead of the changelog"));
        }
        if is_later {
            let claim = reading.next(1).await?;
            let is_there = matches!(claim.first(), Some(ChangelogRecord::Entry(entry))
                if entry.change == Change::Claimed && entry.by == stamp.leader_epoch);
            return Ok((!is_there).then_some("has a leader epoch that nobody has claimed"));
        }
        Ok(None)
    }
}
