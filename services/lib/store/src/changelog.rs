//! The changelog of a partition: every change is written here first, and views are built, and rebuilt, from
//! here.
//!
//! Invariant: the changelog alone is the truth. A record of a leader epoch lower than the highest claim
//! before is without effect. Answering questions is the view's work.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{
    LeaderEpoch, Message, MessageId, Outcome, Partition, Position, ReceiptRequest, Sequence, SubscriptionRef,
    UserAgentId,
};

use crate::{StoreError, Subscription};

/// One durable change of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A router has taken the partition over. The position of the claim decides the router's [`LeaderEpoch`].
    Claimed,
    /// A subscription was made.
    Subscribed(Subscription),
    /// A subscription has ended.
    Unsubscribed(SubscriptionRef),
    /// A message has entered the mailbox. Each leader epoch has a record of its own for a message, so that a
    /// fenced owner's record can neither replace, nor be compacted with, the one that counts.
    Stored {
        /// The message.
        message: Arc<Message>,
        /// Leader epoch that stored the message.
        since: LeaderEpoch,
    },
    /// A message has left the mailbox.
    Ended {
        /// Owner of the mailbox.
        user_agent: UserAgentId,
        /// Id of the message.
        id: MessageId,
        /// Position among the user agent's messages.
        sequence: Sequence,
        /// Leader epoch that stored the message.
        since: LeaderEpoch,
        /// Outcome of the message.
        outcome: Outcome,
    },
}

impl Change {
    /// User agent concerned by the change; `None` for a claim.
    pub fn user_agent(&self) -> Option<UserAgentId> {
        match self {
            Self::Claimed => None,
            Self::Subscribed(made) => Some(made.id.user_agent),
            Self::Unsubscribed(id) => Some(id.user_agent),
            Self::Stored { message, .. } => Some(message.to.user_agent),
            Self::Ended { user_agent, .. } => Some(*user_agent),
        }
    }
}

/// A message of the mailbox, without content: enough to end the message, and to tell of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredMessage {
    /// Id of the message.
    pub id: MessageId,
    /// Subscription addressed.
    pub to: SubscriptionRef,
    /// Position among the user agent's messages.
    pub sequence: Sequence,
    /// Leader epoch that stored the message.
    pub since: LeaderEpoch,
    /// The receipt that the sender asked for.
    pub receipt: Option<ReceiptRequest>,
}

impl StoredMessage {
    /// `message` as leader epoch `since` has stored it.
    pub fn of(message: &Message, since: LeaderEpoch) -> Self {
        let Message { id, to, sequence, .. } = *message;
        Self { id, to, sequence, since, receipt: message.receipt.as_deref().copied() }
    }

    /// The change by which the message leaves the mailbox. The change does not name the subscription: the
    /// record of the stored message does, and nothing after the end needs the name.
    pub const fn ended(self, outcome: Outcome) -> Change {
        let Self { id, to, sequence, since, receipt: _ } = self;
        Change::Ended { user_agent: to.user_agent, id, sequence, since, outcome }
    }
}

/// A change, with its place in the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the record.
    pub position: Position,
    /// Leader epoch of the writer. A claim has no writer's epoch, and stands for the leader epoch that begins
    /// with the claim: `LeaderEpoch(position + 1)`.
    pub by: LeaderEpoch,
    /// The change.
    pub change: Change,
}

/// One record of a changelog, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangelogRecord {
    /// A change.
    Entry(Entry),
    /// A record without a change readable by this release.
    Unreadable(Unreadable),
}

/// A record that is passed over: no state changes, and positions move past the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// Offset of the record.
    pub position: Position,
    /// Compaction key, where readable although the record is not.
    pub key: Option<RecordKey>,
    /// Reason, which decides whether the record may be overwritten.
    pub cause: UnreadableCause,
    /// True of a record without a value: in every version, the end of the key's subscription or message.
    pub is_tombstone: bool,
}

/// Reason why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnreadableCause {
    /// Damaged, or written by somebody else. Nothing is lost by another record under the same key.
    Damaged,
    /// Written by a newer release, which can read the record: must stay unchanged.
    Newer,
}

/// Compaction key of a change: the last record of each key survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKey {
    /// One incarnation of a channel.
    Subscription(SubscriptionRef),
    /// One message, as stored by one leader epoch.
    Message {
        /// Owner of the mailbox.
        user_agent: UserAgentId,
        /// Id of the message.
        id: MessageId,
        /// Leader epoch that stored the message.
        since: LeaderEpoch,
    },
}

impl RecordKey {
    /// Key of `change`; `None` for a claim, which is never compacted.
    pub fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Claimed => None,
            Change::Subscribed(made) => Some(Self::Subscription(made.id)),
            Change::Unsubscribed(id) => Some(Self::Subscription(*id)),
            Change::Stored { message, since } => {
                Some(Self::Message { user_agent: message.to.user_agent, id: message.id, since: *since })
            }
            Change::Ended { user_agent, id, since, .. } => {
                Some(Self::Message { user_agent: *user_agent, id: *id, since: *since })
            }
        }
    }
}

impl ChangelogRecord {
    /// Offset of the record.
    pub const fn position(&self) -> Position {
        match self {
            Self::Entry(entry) => entry.position,
            Self::Unreadable(unreadable) => unreadable.position,
        }
    }
}

/// Identity of the changelog of one partition, drawn with the first claim. A topic that was deleted and made
/// anew has another identity, at whatever length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct History(pub [u8; History::SIZE]);

impl History {
    /// Octets of an identity.
    pub const SIZE: usize = 16;
}

/// The durable order of changes, one for each partition.
///
/// A record that cannot be read is handed out as [`ChangelogRecord::Unreadable`] and never ends a reading.
///
/// Compaction may drop a change that a later one has undone, and the later one after that. The records left,
/// read in order, give the same state.
#[async_trait]
pub trait Changelog: Send + Sync + fmt::Debug {
    /// Writes a claim, and returns the leader epoch that begins with the claim. Durable at return.
    async fn claim(&self, partition: Partition) -> Result<LeaderEpoch, StoreError>;

    /// Writes changes in their order, and returns the position after the last.
    ///
    /// Guarantee: durable at return. After an error any of the changes may have been written; writing all of
    /// them again is harmless.
    async fn append(
        &self,
        partition: Partition,
        by: LeaderEpoch,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError>;

    /// Identity of the changelog of a partition. The partition must have been claimed before.
    async fn history(&self, partition: Partition) -> Result<History, StoreError>;

    /// Reads from `from` on, up to the present end of the changelog.
    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError>;
}

/// A changelog being read, from a position to an end fixed at the start.
#[async_trait]
pub trait Reading: Send + fmt::Debug {
    /// The next records, in order, at most `limit`. Empty at the end.
    async fn next(&mut self, limit: usize) -> Result<Vec<ChangelogRecord>, StoreError>;

    /// The position after the last entry at the time when the reading began.
    fn end(&self) -> Position;
}
