use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{ChannelId, Message, MessageId, Outcome, Sequence, Timestamp, UserAgentId};

use crate::StoreError;

/// What became of a message that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It waits in the mailbox, or has waited there before.
    Kept,
    /// It ended instead: its subscription was gone, or a newer message of its topic was already there.
    Ended(Outcome),
}

/// The bounds of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// At most this many messages.
    pub messages: usize,
    /// No further message once the bodies reach this many octets. The first always comes.
    pub octets: usize,
}

/// What one user agent has waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// Octets of their bodies.
    pub octets: u64,
}

/// The messages that wait for their user agents.
#[async_trait]
pub trait Mailbox: Send + Sync + fmt::Debug {
    /// Takes messages over from the log, any mix of user agents; the answer has one entry for each, in order.
    ///
    /// Guarantee: durable when it returns; a message taken over is no longer in the log. Idempotent by sequence.
    /// Of the messages of one subscription and topic, the one with the highest sequence stays and the others end
    /// as [`Outcome::Replaced`], in whatever order they come (promise P5). A message whose subscription does not
    /// exist in that very incarnation ends as [`Outcome::Unsubscribed`].
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError>;

    /// The messages of `user_agent` after `after`, in the order of their sequences, that are not expired at `now`.
    /// An empty page means that there is nothing after `after`.
    async fn page(
        &self,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, StoreError>;

    /// Ends stored messages by their ids; those of other user agents and those that are not there are passed
    /// over. The answer says for each whether it was there.
    ///
    /// Guarantee: a message ends once, with its first outcome. It may come again after a crash when every outcome
    /// of the call is [`Outcome::Delivered`], for then the change may be written lazily; else durable.
    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError>;

    /// Ends all stored messages of a channel as [`Outcome::Unsubscribed`]. Durable when it returns.
    async fn purge(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), StoreError>;

    /// Ends up to `limit` stored messages that are expired at `now`, and says how many there were.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// How much `user_agent` has waiting. May be a moment old.
    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError>;
}
