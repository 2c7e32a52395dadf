use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{ChannelId, SubscriptionRef, Timestamp, UserAgentId, VapidKeyHash};

use crate::StoreError;

/// A live subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Whose it is, which channel, which life of it.
    pub id: SubscriptionRef,
    /// The VAPID key that it is restricted to (RFC 8292 section 4).
    pub vapid: Option<VapidKeyHash>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Who may receive: user agents and their channels. A user agent exists while it has a subscription.
///
/// Guarantee: what a change returned for is durable, and every later read of this process sees it.
#[async_trait]
pub trait Subscriptions: Send + Sync + fmt::Debug {
    /// The subscription of a channel.
    async fn find(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Option<Subscription>, StoreError>;

    /// For each of `ids`, in order, whether that very incarnation is alive.
    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError>;

    /// How many subscriptions a user agent has; zero means that it is unknown.
    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError>;

    /// Makes `new` the subscription of its channel if the present one is still `expected` (compare and set).
    /// Answers the subscription that is there afterwards: `new`, or the one that was there instead.
    async fn put(
        &self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Result<Option<Subscription>, StoreError>;

    /// Ends the subscription of a channel, and says whether there was one.
    async fn remove(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<bool, StoreError>;
}
