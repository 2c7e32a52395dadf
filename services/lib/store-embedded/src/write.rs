//! The changes, one to a file, and what they share: a transaction to apply themselves in, and a way to answer.

mod append;
mod expire;
mod flush;
mod purge;
mod put;
mod remove;
mod settle;
mod settle_logged;
mod store;
mod transaction;

use std::fmt;

use pushgrid_store::StoreError;
use tokio::sync::oneshot;

pub(crate) use append::Append;
pub(crate) use expire::Expire;
#[cfg(test)]
pub(crate) use expire::{EXPIRED, FIRST_EXPIRY};
pub(crate) use flush::Flush;
#[cfg(test)]
pub(crate) use purge::OF_CHANNEL;
pub(crate) use purge::Purge;
pub(crate) use put::Put;
pub(crate) use remove::Remove;
#[cfg(test)]
pub(crate) use settle::BY_ID;
pub(crate) use settle::Settle;
pub(crate) use settle_logged::SettleLogged;
#[cfg(test)]
pub(crate) use store::OF_TOPIC;
pub(crate) use store::Store;
pub(crate) use transaction::{Effects, Transaction};

use crate::failure::Failure;

/// One change of the file.
///
/// Contract: [`Self::apply`] may be called more than once, each time in a fresh transaction, when an earlier one was
/// rolled back. It changes nothing but that transaction.
pub(crate) trait Write: fmt::Debug + Send + 'static {
    /// What whoever asked for it is told once it is committed.
    type Answer: Send;

    /// Whether it need not be on disk when it is answered, and may wait a moment for others.
    fn is_lazy(&self) -> bool {
        false
    }

    /// Makes the change.
    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Self::Answer, Failure>;
}

/// A change in the queue, whatever it answers.
pub(crate) trait Work: fmt::Debug + Send {
    fn is_lazy(&self) -> bool;

    /// Makes the change and keeps the answer for later.
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure>;

    /// Gives the answer: the transaction was committed.
    fn succeed(self: Box<Self>);

    /// Says that nothing was changed, and why. What nobody waits for is given back, to be tried again.
    fn fail(self: Box<Self>, failure: &Failure) -> Option<Box<dyn Work>>;
}

/// What whoever asked waits for.
pub(crate) type Reply<A> = oneshot::Receiver<Result<A, StoreError>>;

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
