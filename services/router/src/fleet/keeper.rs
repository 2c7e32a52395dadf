use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{LedgerSnapshot, LogConsumer, Mailbox, Presence, Share, StoreError, Subscriptions};
use pushgrid_types::Tenure;

/// Makes the state of partitions ready for their owner.
#[async_trait]
pub trait Keeper: Send + Sync + fmt::Debug {
    /// Takes a partition over: fences the owner before, catches up with what it left, and answers when all of it can be
    /// relied on. Waits as long as the stores cannot be reached. An error: the partition is another router's, or a
    /// person has to look.
    async fn take_over(&self, share: Share) -> Result<Estate, StoreError>;
}

/// The state of a partition, in the hands of its owner.
#[derive(Debug)]
pub struct Estate {
    /// The right to it.
    pub tenure: Tenure,
    /// Its messages as they are accepted.
    pub consumer: Box<dyn LogConsumer>,
    /// Its messages that wait.
    pub mailbox: Arc<dyn Mailbox>,
    /// Its subscriptions.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Who of its user agents is where.
    pub presence: Arc<dyn Presence>,
    /// Its account, and how it ends.
    pub life: Arc<dyn Life>,
}

/// The account of a partition, and how its state ends.
#[async_trait]
pub trait Life: Send + Sync + fmt::Debug {
    /// The account of its messages, as it stands for good.
    fn account(&self) -> LedgerSnapshot;

    /// Finishes what is under way, and commits how far everything has been dealt with.
    async fn close(&self);

    /// Returns when the state has ended by itself: another router has the partition.
    async fn ended(&self);
}
