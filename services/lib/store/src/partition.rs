//! State of one partition, for the router that owns it, over any adapters.
//!
//! Invariant: a state has one owner. A later one has a higher leader epoch, and fences this one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::LeaderEpoch;

use crate::{LedgerSnapshot, LogConsumer, Mailbox, Presence, Share, StoreError, Subscriptions};

/// State of a partition: of one of many in a grid, of all user agents in standalone.
#[derive(Debug)]
pub struct PartitionState {
    /// Fencing token of the owner.
    pub leader_epoch: LeaderEpoch,
    /// Accepted messages, in the order of the log.
    pub consumer: Box<dyn LogConsumer>,
    /// Stored messages of the partition's user agents.
    pub mailbox: Arc<dyn Mailbox>,
    /// Subscriptions of the partition's user agents.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Claims of sessions on the partition's user agents.
    pub presence: Arc<dyn Presence>,
    /// Account and end of the state.
    pub lifecycle: Arc<dyn PartitionLifecycle>,
}

/// Account of a partition, and the end of its state.
///
/// A trait and no part of [`PartitionState`] as values: the writer of the state answers all three, and lives
/// as long as the mailbox. The committed account is a figure of the writer's tasks, the end of the state is
/// the end of these tasks, and a close finishes their writes.
#[async_trait]
pub trait PartitionLifecycle: Send + Sync + fmt::Debug {
    /// Account of the partition's messages, as far as committed.
    fn account(&self) -> LedgerSnapshot;

    /// Finishes writes under way, and commits. Afterwards the next owner finds all of it.
    async fn close(&self);

    /// Returns once the state is this owner's no longer: fenced, because another router has the partition, or
    /// stopped. Never returns where nobody can take the state away. Cancel safe.
    async fn ended(&self);
}

/// Loads the state of partitions for their owner.
#[async_trait]
pub trait PartitionLoader: Send + Sync + fmt::Debug {
    /// Takes a partition over: fences the previous owner, replays the rest of its changelog, and returns once
    /// all state can be relied on. Waits without a bound while the stores cannot be reached.
    ///
    /// Errors: `Closed` when another router has the partition; any other kind needs an operator.
    async fn take_over(&self, share: Share) -> Result<PartitionState, StoreError>;
}
