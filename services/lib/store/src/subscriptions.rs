use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{ChannelId, Restriction, SubscriptionRef, Timestamp, UserAgentId};

use crate::StoreError;

/// A live subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// User agent, channel and incarnation.
    pub id: SubscriptionRef,
    /// The credential required of senders.
    pub restriction: Restriction,
    /// Instant of the registration.
    pub created_at: Timestamp,
}

/// The live subscriptions of user agents. A user agent exists while one of its subscriptions does.
///
/// Guarantee: a change is durable at return, and every later read of this process sees the change.
#[async_trait]
pub trait Subscriptions: Send + Sync + fmt::Debug {
    /// The subscription of a channel; `None` when there is none.
    async fn find(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Option<Subscription>, StoreError>;

    /// One entry for each of `ids`, in order: true when exactly this incarnation is alive.
    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError>;

    /// Number of subscriptions of a user agent; zero for an unknown one.
    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError>;

    /// Channels of a user agent with a subscription, in any order.
    async fn channels(&self, user_agent: UserAgentId) -> Result<Vec<ChannelId>, StoreError>;

    /// Makes `new` the subscription of its channel if the present one is still `expected` (compare and set).
    /// Returns the subscription in place afterwards: `new`, or the one found instead.
    async fn put(
        &self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Result<Option<Subscription>, StoreError>;

    /// Ends the subscription of a channel and, in the same change, its messages in the mailbox, of any
    /// incarnation, as [`Outcome::Unsubscribed`](pushgrid_types::Outcome::Unsubscribed). True when there was
    /// one; without one nothing waits for the channel, and nothing is looked for.
    async fn remove(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<bool, StoreError>;
}
