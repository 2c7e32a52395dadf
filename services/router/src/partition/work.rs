//! Calls of the stores that a partition has decided on, for its worker to carry out, and those who wait for an answer.

use std::sync::Arc;

use pushgrid_store::{Cancelled, End, PageLimit, PageStart};
use pushgrid_types::{Epoch, Message, MessageId, MessageRef, Outcome, SessionRef, Timestamp, UserAgentId};
use tokio::sync::oneshot;

use super::Cancelling;

/// Store calls of a turn.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Messages ended without leaving the log.
    pub(crate) settle_log: Vec<End>,
    /// Cancellations to answer once the ends of `settle_log`, and all those of earlier turns, are durable.
    pub(crate) answers: Vec<CancelAnswer>,
    /// Messages to store; the answer goes to [`Partition::stored`].
    pub(crate) store: Vec<Arc<Message>>,
    /// Callers to answer once all of `store` is done.
    pub(crate) after_store: Vec<oneshot::Sender<()>>,
    /// Messages to end in the mailbox.
    pub(crate) settle_mailbox: Vec<SettleStored>,
    /// Pages to read; the answer goes to [`Partition::page`].
    pub(crate) pages: Vec<PageRequest>,
    /// Those who ask for the end of the log; the answer goes to [`Partition::log_ends_at`].
    pub(crate) ask_end: Vec<EndAsker>,
    /// Claims to release.
    pub(crate) releases: Vec<(UserAgentId, Epoch)>,
}

/// Messages of one user agent to end in the mailbox.
#[derive(Debug)]
pub(crate) struct SettleStored {
    pub(crate) user_agent: UserAgentId,
    pub(crate) ended: Vec<(MessageId, Outcome)>,
    /// Cancellation to tell of the result, through [`Partition::cancel_met`].
    pub(crate) cancel: Option<Cancelling>,
}

/// Page to read from the mailbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest {
    pub(crate) user_agent: UserAgentId,
    pub(crate) session: SessionRef,
    pub(crate) start: PageStart,
    pub(crate) limit: PageLimit,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.settle_log.is_empty()
            && self.answers.is_empty()
            && self.store.is_empty()
            && self.after_store.is_empty()
            && self.settle_mailbox.is_empty()
            && self.pages.is_empty()
            && self.ask_end.is_empty()
            && self.releases.is_empty()
    }

    /// Answers an acknowledgement at once, for a redelivery is allowed (promise P3); and a cancellation when no crash
    /// can undo the answer.
    pub(super) fn answer(&mut self, reply: CancelReply, cancelled: Cancelled) {
        if reply.is_acknowledgement() {
            reply.answer(cancelled);
        } else {
            self.answers.push(CancelAnswer { reply, cancelled });
        }
    }

    /// Ends a stored message.
    pub(super) fn end_stored(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) {
        match self.settle_mailbox.last_mut() {
            Some(last) if last.user_agent == user_agent && last.cancel.is_none() => {
                last.ended.push((id, outcome));
            }
            _ => self.settle_mailbox.push(SettleStored {
                user_agent,
                ended: vec![(id, outcome)],
                cancel: None,
            }),
        }
    }
}

/// Receiver of the exact answer, and the outcome that the message is to have.
#[derive(Debug)]
pub(crate) struct CancelReply {
    /// Instant of the acknowledgement; `None` for a cancellation.
    pub(super) acknowledged_at: Option<Timestamp>,
    sender: oneshot::Sender<Cancelled>,
}

impl CancelReply {
    pub(crate) const fn to_cancellation(sender: oneshot::Sender<Cancelled>) -> Self {
        Self { acknowledged_at: None, sender }
    }

    pub(crate) const fn to_acknowledgement(at: Timestamp, sender: oneshot::Sender<Cancelled>) -> Self {
        Self { acknowledged_at: Some(at), sender }
    }

    /// True when the user agent has had the message: nothing of its topic is of interest any more.
    pub(crate) const fn is_acknowledgement(&self) -> bool {
        self.acknowledged_at.is_some()
    }

    pub(super) const fn outcome(&self) -> Outcome {
        if self.is_acknowledgement() { Outcome::Delivered } else { Outcome::Cancelled }
    }

    /// True once the caller has gone away.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Answers. The caller may have gone away, which undoes nothing.
    pub(super) fn answer(self, cancelled: Cancelled) {
        let _ = self.sender.send(cancelled);
    }
}

/// Answer to a cancellation, to be sent once the ends in the log are durable. Dropped, it means an unknown outcome.
#[derive(Debug)]
pub(crate) struct CancelAnswer {
    reply: CancelReply,
    cancelled: Cancelled,
}

impl CancelAnswer {
    /// True if the cancellation has ended the message.
    pub(crate) fn has_ended(&self) -> bool {
        self.cancelled == Cancelled::Ended
    }

    pub(crate) fn send(self) {
        self.reply.answer(self.cancelled);
    }
}

/// Somebody who waits to be told the end of the log.
#[derive(Debug)]
pub(crate) enum EndAsker {
    /// A session with a message of a topic to be sent.
    Session(UserAgentId, SessionRef),
    /// A cancellation, and the receiver of its answer.
    Cancel(MessageRef, CancelReply),
}
