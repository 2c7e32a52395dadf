use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, Message, MessageId, Partition, Position, Sequence, SubscriptionRef, Tenure, Timestamp, Topic,
    UserAgentId,
};

use crate::{Change, PageLimit, StoreError, StoredMessage, Subscription, Usage};

/// Where the owner of a partition stands: what it owns, by what right, and what it knows to be in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footing {
    /// The partition.
    pub partition: Partition,
    /// The right to it.
    pub tenure: Tenure,
    /// Every change before this position is in the view, or the view has lost something.
    pub position: Position,
}

/// Why a view did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A later tenure owns the partition: the caller must stop.
    #[error("another router has taken the partition over")]
    Fenced,
    /// The view holds only the changes before this position: it has to be told the others first. Zero: it is empty.
    #[error("the view is not where it was")]
    Behind(Position),
    /// The view could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A view of the changelog that answers questions. It can lose everything, or the last of what it was told; it never
/// keeps a change and loses an earlier one. Of a partition it is all in one place, so each call is atomic with the
/// check of the caller's footing.
///
/// Guarantee: an answer counts only if every change before `footing.position` is in the view and no later tenure
/// has begun; otherwise the call fails with [`ViewError::Behind`] or [`ViewError::Fenced`] and changes nothing.
/// Every list is answered in its order.
#[async_trait]
pub trait View: Send + Sync + fmt::Debug {
    /// Begins a tenure: earlier ones are fenced from now on. Answers the position before which the view holds every
    /// change. Repeated by the same tenure it answers again.
    async fn begin(&self, partition: Partition, tenure: Tenure) -> Result<Position, ViewError>;

    /// Takes changes in, in their order, all or none; afterwards the view is at `to`. It has to be exactly at
    /// `footing.position` (or at `to` already: then the call was made before, and nothing happens); else
    /// [`ViewError::Behind`] with the position where it is. A change that is there already changes nothing.
    async fn apply(&self, footing: Footing, changes: &[Change], to: Position) -> Result<(), ViewError>;

    /// Says that the view holds everything: from now on others than the owner may believe it when it says no, until it
    /// loses something.
    async fn complete(&self, footing: Footing) -> Result<(), ViewError>;

    /// The subscription of each channel.
    async fn find(
        &self,
        footing: Footing,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError>;

    /// Whether each incarnation is alive.
    async fn alive(&self, footing: Footing, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError>;

    /// How many subscriptions a user agent has.
    async fn count(&self, footing: Footing, user_agent: UserAgentId) -> Result<usize, ViewError>;

    /// The stored messages with these ids.
    async fn stored(
        &self,
        footing: Footing,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError>;

    /// The stored message of each topic of a subscription.
    async fn in_topic(
        &self,
        footing: Footing,
        topics: &[(UserAgentId, ChannelId, Topic)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError>;

    /// All stored messages of a channel.
    async fn in_channel(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError>;

    /// Stored messages of the partition that are expired at `now`, at most `limit`, any order.
    async fn due(
        &self,
        footing: Footing,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(UserAgentId, StoredMessage)>, ViewError>;

    /// As [`crate::Mailbox::page`].
    async fn page(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, ViewError>;

    /// As [`crate::Mailbox::usage`].
    async fn usage(&self, footing: Footing, user_agent: UserAgentId) -> Result<Usage, ViewError>;

    /// How many messages are stored in the partition.
    async fn waiting(&self, footing: Footing) -> Result<u64, ViewError>;
}
