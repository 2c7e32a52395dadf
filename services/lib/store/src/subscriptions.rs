use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{ChannelId, Restriction, SubscriptionRef, Timestamp, UserAgentId, WebhookUrl};

use crate::StoreError;

/// A live subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// User agent, channel and incarnation.
    pub id: SubscriptionRef,
    /// The credential required of senders.
    pub restriction: Restriction,
    /// Instant at which the user agent was last here, to the day.
    pub seen_at: Timestamp,
    /// False for a subscription of a release that noted no visits: `seen_at` is that of the registration.
    pub is_noted: bool,
    /// URL to which its messages are posted: receipts, for an application server that wants them so.
    pub webhook: Option<WebhookUrl>,
}

/// Place of a sweep through all subscriptions, known by the store that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepPlace(pub Vec<u8>);

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

    /// All subscriptions of a user agent, in any order. Those that only a newer release can read are counted, and are not
    /// here.
    async fn all(&self, user_agent: UserAgentId) -> Result<Vec<Subscription>, StoreError>;

    /// Subscriptions from a place of a sweep on, and the place to go on from; `None` begins and ends a sweep. What is
    /// there all the while comes at least once, all subscriptions of a user agent together. Bounded: a thousand user
    /// agents or so in a call.
    async fn sweep(
        &self,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), StoreError>;

    /// User agents that have a subscription with a webhook, after `after` in the order of their octets, at most `limit`. May
    /// name one whose last webhook has ended.
    async fn webhooks(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, StoreError>;

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
