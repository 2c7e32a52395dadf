//! What a store of a cluster is made of: a changelog in which every change of a partition is written first, and a view
//! that answers questions and can be made again from the changelog.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{
    Message, MessageId, Outcome, Partition, Position, Sequence, SubscriptionRef, Tenure, UserAgentId,
};

use crate::{StoreError, Subscription};

/// One change of what must not be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A router takes the partition over. Where it stands decides the router's [`Tenure`].
    Claimed,
    /// A subscription was made.
    Subscribed(Subscription),
    /// A subscription has ended.
    Unsubscribed(SubscriptionRef),
    /// A message waits in the mailbox. Each tenure has its own record of a message, so that one which has been
    /// fenced cannot take the place of, or be compacted with, the one that counts.
    Stored {
        /// The message.
        message: Arc<Message>,
        /// By whose right it was stored.
        since: Tenure,
    },
    /// A message has left the mailbox.
    Ended {
        /// Whose it was.
        user_agent: UserAgentId,
        /// Which record it ends.
        stored: StoredMessage,
        /// How.
        outcome: Outcome,
    },
}

/// A message of the mailbox, without its content: what is needed to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredMessage {
    /// Which.
    pub id: MessageId,
    /// Its place among its user agent's messages.
    pub sequence: Sequence,
    /// By whose right it was stored.
    pub since: Tenure,
}

/// A change, as it stands in the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub position: Position,
    /// By whose right it was written. A claim is written by none, and stands for the tenure that begins with it:
    /// `Tenure(position + 1)`.
    pub by: Tenure,
    /// What.
    pub change: Change,
}

/// The durable order of changes, one for each partition.
///
/// Compaction may forget a change that a later one has undone, and the later one after that. What is left, read in
/// order, gives the same state.
#[async_trait]
pub trait Changelog: Send + Sync + fmt::Debug {
    /// Writes a claim, durably, and answers the tenure that it begins.
    async fn claim(&self, partition: Partition) -> Result<Tenure, StoreError>;

    /// Writes changes, in their order, and answers the position after the last of them.
    ///
    /// Guarantee: durable when it returns. After an error any of them may have been written; to write all of them
    /// again is harmless.
    async fn append(
        &self,
        partition: Partition,
        by: Tenure,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError>;

    /// Reads from `from` on, up to where the changelog ends at this moment.
    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError>;
}

/// A changelog being read.
#[async_trait]
pub trait Reading: Send + fmt::Debug {
    /// The next entries, in order, at most `limit`. Empty: that was all.
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Where it ends: the position after the last entry that there was when the reading began.
    fn end(&self) -> Position;
}
