//! The changes, one to a file, and the parts shared by all: a transaction to apply a change in, and a way to answer.

mod append;
mod broadcast;
mod expire;
mod flush;
mod keep_time;
mod put;
mod remove;
mod settle;
mod settle_logged;
mod store;
mod transaction;

use std::fmt;

use pushgrid_store::{ErrorKind, StoreError};
use tokio::sync::oneshot;

pub(crate) use append::Append;
pub(crate) use broadcast::{RemoveBroadcast, SetBroadcast, broadcasts};
pub(crate) use expire::Expire;
#[cfg(test)]
pub(crate) use expire::{EXPIRED, FIRST_EXPIRY};
pub(crate) use flush::Flush;
pub(crate) use keep_time::{KeepTime, kept_time};
pub(crate) use put::Put;
#[cfg(test)]
pub(crate) use remove::OF_CHANNEL;
pub(crate) use remove::Remove;
#[cfg(test)]
pub(crate) use settle::BY_ID;
pub(crate) use settle::Settle;
pub(crate) use settle_logged::SettleLogged;
#[cfg(test)]
pub(crate) use store::OF_TOPIC;
pub(crate) use store::Store;
pub(crate) use transaction::{Effects, Transaction, any_receipt};

use crate::failure::Failure;

/// Statements of the changes, besides the look-ups above.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 14] = [
    crate::row::INSERT,
    crate::row::FIND_SUBSCRIPTION,
    crate::account::ADD,
    broadcast::SET,
    broadcast::END,
    flush::TOUCH,
    put::PUT,
    remove::REMOVE,
    store::HELD,
    store::KEEP,
    transaction::DELETE,
    transaction::DELETE_TELLING,
    transaction::DELETE_LOGGED,
    transaction::ANY_RECEIPT,
];

/// One change of the file.
///
/// Contract: [`Self::apply`] may be called more than once, each time in a fresh transaction, when an earlier one was
/// rolled back. Nothing else is changed.
pub(crate) trait Write: fmt::Debug + Send + 'static {
    /// Answer to the caller after the commit.
    type Answer: Send;

    /// True for a change that may be answered before it is on disk, and may wait a moment for others.
    fn is_lazy(&self) -> bool {
        false
    }

    /// True for a change that adds something, and so is refused without room.
    fn adds(&self) -> bool {
        false
    }

    /// Makes the change.
    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Self::Answer, Failure>;
}

/// A change in the queue, with any type of answer.
pub(crate) trait Work: fmt::Debug + Send {
    fn is_lazy(&self) -> bool;

    /// True for a change that has to be on disk when its transaction is committed. Another one may be, too.
    fn is_durable(&self) -> bool {
        !self.is_lazy()
    }

    /// True for a change that is refused without room.
    fn adds(&self) -> bool;

    /// Makes the change and keeps the answer for later.
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure>;

    /// Answers after the commit.
    fn succeed(self: Box<Self>);

    /// Answers that nothing was changed, with the failure. A change without a waiting caller is returned, for another
    /// try.
    fn fail(self: Box<Self>, failure: &Failure) -> Option<Box<dyn Work>>;
}

/// Receiver of a change's answer.
pub(crate) type Reply<A> = oneshot::Receiver<Result<A, StoreError>>;

/// Waits for the answer of a change.
pub(crate) async fn answer<A>(reply: Reply<A>) -> Result<A, StoreError> {
    // Without an answer the committer has died with the change in its hands.
    reply.await.unwrap_or_else(|gone| Err(StoreError::new(ErrorKind::Unknown, gone)))
}

struct Job<W: Write> {
    write: W,
    answer: Option<W::Answer>,
    reply: oneshot::Sender<Result<W::Answer, StoreError>>,
}

/// Makes a change ready for the queue.
pub(crate) fn job<W: Write>(write: W) -> (Box<dyn Work>, Reply<W::Answer>) {
    let (reply, receiver) = oneshot::channel();
    (Box::new(Job { write, answer: None, reply }), receiver)
}

impl<W: Write> fmt::Debug for Job<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.write).finish()
    }
}

impl<W: Write> Work for Job<W> {
    fn is_lazy(&self) -> bool {
        self.write.is_lazy()
    }

    fn adds(&self) -> bool {
        self.write.adds()
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        self.answer = Some(self.write.apply(transaction)?);
        Ok(())
    }

    fn succeed(self: Box<Self>) {
        // Whoever asked may have gone; the change stands all the same.
        if let Some(answer) = self.answer {
            drop(self.reply.send(Ok(answer)));
        }
    }

    fn fail(self: Box<Self>, failure: &Failure) -> Option<Box<dyn Work>> {
        drop(self.reply.send(Err(failure.to_error())));
        None
    }
}
