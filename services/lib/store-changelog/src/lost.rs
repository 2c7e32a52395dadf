//! End of messages of which only a damaged record is left.

use pushgrid_store::{Change, End, ViewError};
use pushgrid_types::cast::saturating;
use pushgrid_types::{DropReason, LeaderEpoch, MessageId, Outcome, Position, Sequence, UserAgentId};

use crate::context::PartitionContext;

/// Outcome of a message whose only record is damaged.
pub(crate) const DAMAGED: Outcome = Outcome::Dropped(DropReason::Damaged);

impl PartitionContext {
    /// Messages known from a damaged record alone, in a partition that should hold `expected` messages. Most
    /// damaged records replaced the end of a message, or were written again in time; so no more messages are
    /// given up than the account misses.
    pub(crate) async fn find_lost(&self, at: Position, expected: u64) -> Result<Vec<Lost>, ViewError> {
        let damaged = self.unreadable.damaged();
        if damaged.is_empty() {
            return Ok(Vec::new());
        }
        let barrier = self.barrier(at);
        if !self.view.complete(barrier).await?.is_empty() {
            // The view lacks the messages of user agents set aside, so it cannot tell which are missing.
            return Ok(Vec::new());
        }
        let missing = expected.saturating_sub(self.view.waiting(barrier).await?);
        let mut lost = Vec::new();
        for damaged in damaged.chunks(self.tuning.batch.max(1)) {
            let ids: Vec<_> = damaged.iter().map(|(of, id, _)| (*of, *id)).collect();
            let stored = self.view.stored(barrier, &ids).await?;
            lost.extend(
                damaged.iter().zip(stored).filter(|(_, stored)| stored.is_none()).map(|(key, _)| *key),
            );
        }
        lost.truncate(saturating::<usize>(missing));
        self.unreadable.forget_damaged();
        if !lost.is_empty() {
            tracing::error!(
                messages = lost.len(),
                "nothing but damaged records is left of messages that waited: they end as {}",
                DAMAGED.as_str()
            );
        }
        Ok(lost.into_iter().map(|(user_agent, id, since)| Lost { user_agent, id, since }).collect())
    }
}

/// Message of which the key alone is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    user_agent: UserAgentId,
    id: MessageId,
    since: LeaderEpoch,
}

impl Lost {
    /// Stands for the sequence, which is lost too: no message has this one.
    const SEQUENCE: Sequence = Sequence(0);

    pub(crate) fn change(&self) -> Change {
        let Self { user_agent, id, since } = *self;
        Change::Ended { user_agent, id, sequence: Self::SEQUENCE, since, outcome: DAMAGED }
    }

    pub(crate) fn end(&self) -> End {
        let Self { user_agent, id, .. } = *self;
        End { user_agent, id, sequence: Self::SEQUENCE, to: None, outcome: DAMAGED, receipt: None }
    }
}
