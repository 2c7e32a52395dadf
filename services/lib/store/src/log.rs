use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, Outcome, Sequence};

use crate::StoreError;

/// Where accepted messages are written first.
#[async_trait]
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Keeps `message` and gives it its place among its user agent's messages.
    ///
    /// Guarantee: durable when it returns (promise P1), and handed to the router's [`LogConsumer`] after that,
    /// in the order of the sequences. An error of kind [`crate::ErrorKind::Unknown`] leaves open whether it was kept.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError>;
}

/// The router's side of the log.
#[async_trait]
pub trait LogConsumer: Send + fmt::Debug {
    /// The next messages, oldest first: at least one, at most `limit`. Waits until there is one. `Ok` with an
    /// empty batch means that the log is closed and all of it has been handed out.
    ///
    /// Guarantee: a message that was not settled before the process ended comes again in its next life.
    /// Cancel safe: nothing is lost when the future is dropped.
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError>;

    /// Says how messages ended that were never moved to the mailbox. Does not wait: the log may forget it in a
    /// crash, and then they come again with the same id (promise P3).
    fn settle(&self, ended: Vec<(Sequence, Outcome)>);
}
