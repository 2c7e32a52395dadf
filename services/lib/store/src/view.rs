//! The materialized view of a changelog: answers about one partition, checked against the caller's read
//! barrier.
//!
//! Invariant: a view never answers a stale or fenced caller, and never holds a change without every change
//! before. The view may lose everything; the changelog restores it.

use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Partition, Position, ReplaceKey, SubscriptionRef, Timestamp,
    UserAgentId,
};

use crate::{
    Change, History, Page, PageLimit, PageStart, StoreError, StoredMessage, Subscription, SweepPlace, Usage,
};

/// Fencing token and minimum applied position to be matched by every call to the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBarrier {
    /// The partition.
    pub partition: Partition,
    /// Leader epoch of the owner.
    pub leader_epoch: LeaderEpoch,
    /// Position up to which the owner knows the view to have been applied; a lower position in the view means
    /// a loss.
    pub position: Position,
}

/// Stamp of a view: its changelog, its last leader epoch and its applied position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Identity of the applied changelog; `None` in a view made by an earlier release.
    pub history: Option<History>,
    /// The last leader epoch begun.
    pub leader_epoch: LeaderEpoch,
    /// Applied position: every change before is in the view.
    pub position: Position,
}

/// Reason that a view did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A later leader epoch owns the partition: the caller must stop.
    #[error("another router has taken the partition over")]
    Fenced,
    /// The view is stale: only the changes before this position are applied, and the others have to be. Zero:
    /// empty.
    #[error("the view is not where it was")]
    Behind(Position),
    /// The view's state of these user agents cannot be read, or was removed as unreadable: all are set aside.
    /// A call without them can succeed.
    #[error("what the view has of a user agent cannot be read")]
    Unreadable(Vec<UserAgentId>),
    /// The store of the view failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A materialized view of the changelog, which answers questions. A view may lose everything, or the last
/// changes applied; never a change before one that is kept. The state of a partition lies in one place, so
/// each call is atomic with the check of the caller's read barrier.
///
/// Guarantee: an answer counts only if every change before `barrier.position` is applied and no later leader
/// epoch has begun; otherwise the call fails with [`ViewError::Behind`] or [`ViewError::Fenced`] and changes
/// nothing. Unreadable state of one user agent affects no other: see [`ViewError::Unreadable`]. Every list is
/// answered in order.
#[async_trait]
pub trait View: Send + Sync + fmt::Debug {
    /// Begins a leader epoch, which fences all earlier ones. Returns the applied position. Idempotent for the
    /// same leader epoch.
    async fn begin(&self, partition: Partition, leader_epoch: LeaderEpoch) -> Result<Position, ViewError>;

    /// The stamp of a view, whichever router owns the partition; `None` for an empty view.
    async fn stamp(&self, partition: Partition) -> Result<Option<Stamp>, ViewError>;

    /// Writes the changelog's identity into the stamp. No effect on an empty view, which has no stamp.
    async fn sign(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError>;

    /// Removes all state of the partition, of any leader epoch, and begins `leader_epoch` at position 0 with
    /// a stamp of `history`. For a view of another changelog, whose leader epochs mean nothing in this one.
    /// An interrupted discard leaves a stamp without a history.
    async fn discard(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError>;

    /// Applies changes in order, all or none; afterwards the view is at `to`. Idempotent: no effect when the
    /// view is at `to` already. Fails with [`ViewError::Behind`] and the applied position when the view is at
    /// neither `barrier.position` nor `to`.
    ///
    /// A change applied before has no effect. Changes of user agents that are set aside are passed over, and
    /// a change that cannot be applied sets its user agent aside.
    async fn apply(&self, barrier: ReadBarrier, changes: &[Change], to: Position) -> Result<(), ViewError>;

    /// Marks the view as complete: from now on ingresses may trust a negative answer, until the view loses
    /// something. User agents that are set aside are excepted: the answer names them, ten thousand at most.
    async fn complete(&self, barrier: ReadBarrier) -> Result<Vec<UserAgentId>, ViewError>;

    /// Removes all state of these user agents, and answers nothing about them until they are restored.
    async fn set_aside(&self, barrier: ReadBarrier, user_agents: &[UserAgentId]) -> Result<(), ViewError>;

    /// Restores a user agent that is set aside, in as many calls as needed, `whole` with the last of them;
    /// after that the user agent is as any other. The view must be exactly at `barrier.position`, and
    /// `changes` must be the sum of all changes before. Fails with [`ViewError::Unreadable`] when the changes
    /// cannot be applied; the user agent is then set aside again, empty.
    async fn restore(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        changes: &[Change],
        whole: bool,
    ) -> Result<(), ViewError>;

    /// The subscription of each channel, in order; `None` where there is none.
    async fn find(
        &self,
        barrier: ReadBarrier,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError>;

    /// One entry for each of `ids`, in order: true when exactly this incarnation is alive.
    async fn alive(&self, barrier: ReadBarrier, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError>;

    /// Number of subscriptions of a user agent.
    async fn count(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<usize, ViewError>;

    /// As [`crate::Subscriptions::all`].
    async fn all(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
    ) -> Result<Vec<Subscription>, ViewError>;

    /// As [`crate::Subscriptions::sweep`], without user agents that are set aside.
    async fn sweep(
        &self,
        barrier: ReadBarrier,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), ViewError>;

    /// As [`crate::Subscriptions::webhooks`]. A view that a release without webhooks has built names none.
    async fn webhooks(
        &self,
        barrier: ReadBarrier,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, ViewError>;

    /// The stored messages with these ids, in order; `None` where there is none.
    async fn stored(
        &self,
        barrier: ReadBarrier,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError>;

    /// The stored message of each topic of a subscription, in order; `None` where there is none.
    async fn in_topic(
        &self,
        barrier: ReadBarrier,
        topics: &[(UserAgentId, ChannelId, ReplaceKey)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError>;

    /// All stored messages of a channel.
    async fn in_channel(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError>;

    /// Stored messages of the partition expired at `now`, at most `limit`, in any order.
    async fn due(
        &self,
        barrier: ReadBarrier,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, ViewError>;

    /// As [`crate::Mailbox::page`].
    async fn page(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, ViewError>;

    /// As [`crate::Mailbox::message`].
    async fn message(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        id: MessageId,
    ) -> Result<Option<Message>, ViewError>;

    /// As [`crate::Mailbox::usage`].
    async fn usage(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<Usage, ViewError>;

    /// Number of messages stored in the partition.
    async fn waiting(&self, barrier: ReadBarrier) -> Result<u64, ViewError>;
}
