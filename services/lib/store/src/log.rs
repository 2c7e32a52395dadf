use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, Sequence};

use crate::{End, StoreError};

/// The log of accepted messages, the first place of each.
#[async_trait]
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Writes `message`, and returns the sequence assigned among the user agent's messages.
    ///
    /// Guarantee: durable at return (promise P1), and handed to the router's [`LogConsumer`] after that, in
    /// the order of the sequences. After an error of kind [`crate::ErrorKind::Unknown`] the message may be in
    /// the log or not.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError>;
}

/// End of a log, exclusively.
pub enum LogEnd {
    /// Known at once.
    Known(Sequence),
    /// To be asked for. Asks nothing before it is polled.
    Ask(Pin<Box<dyn Future<Output = Result<Sequence, StoreError>> + Send>>),
}

impl fmt::Debug for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(end) => f.debug_tuple("Known").field(end).finish(),
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}

impl LogEnd {
    /// The end, if it is known without a question.
    pub fn known(&self) -> Option<Sequence> {
        match self {
            Self::Known(end) => Some(*end),
            Self::Ask(_) => None,
        }
    }

    /// The end, asked for if need be.
    pub async fn get(self) -> Result<Sequence, StoreError> {
        match self {
            Self::Known(end) => Ok(end),
            Self::Ask(end) => end.await,
        }
    }
}

/// Flush of the ends in a log, under way once polled.
pub type Flushing = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// The router's side of the log.
#[async_trait]
pub trait LogConsumer: Send + fmt::Debug {
    /// The next messages, oldest first: at least one, at most `limit`. Waits for a message. `Ok` with an
    /// empty batch means that the log is closed and all of its messages have been handed out.
    ///
    /// Guarantee: a message not settled before the process ends is redelivered in the next life.
    /// Cancel safe: no message is lost when the future is dropped.
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError>;

    /// The sequence up to which, exclusively, the log has been read: every message before was handed out by
    /// [`Self::next`], or never will be, having ended in an earlier life. Never goes back.
    fn read_to(&self) -> Sequence;

    /// The end of the log when this consumer began: the first sequence that no earlier life of the router can
    /// have read. A message before may have been delivered, and may be acknowledged before [`Self::next`]
    /// hands the message out.
    fn inherited_to(&self) -> Sequence;

    /// The end of the log now: every message whose [`EventLog::append`] has returned lies before.
    fn end(&self) -> LogEnd;

    /// Reports the outcomes of messages never moved to the mailbox, each known by its sequence. Does not
    /// wait: a crash may lose the report, and the messages are then redelivered with the same ids (promise
    /// P3). [`Self::flush`] makes the ends durable.
    fn settle(&self, ended: Vec<End>);

    /// Makes every end reported by [`Self::settle`] before this call durable. Asks nothing before it is polled.
    ///
    /// Guarantee: after `Ok` no crash has any of these messages redelivered. After an error each of them has ended for
    /// this life, and a crash may redeliver it, until a later flush succeeds. A dropped future undoes nothing.
    ///
    /// Errors: [`crate::ErrorKind::Unavailable`] while the ends cannot be written, or not all of them have room.
    fn flush(&self) -> Flushing;
}
