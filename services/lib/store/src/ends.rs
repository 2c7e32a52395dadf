//! Ends of messages: events for timelines and usage, and the receipts that are due.

use std::fmt;
use std::sync::Arc;

use pushgrid_types::{
    Clock, Message, MessageId, MessageRef, Outcome, Receipt, ReceiptRequest, Sequence, SubscriptionRef,
    Timestamp, UserAgentId,
};

use crate::StoredMessage;

/// End of one accepted message (promise P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// User agent addressed.
    pub user_agent: UserAgentId,
    /// Id of the message.
    pub id: MessageId,
    /// Place of the message among those of its user agent.
    pub sequence: Sequence,
    /// Subscription addressed, which leads to the sender; `None` of a message without a readable record.
    pub to: Option<SubscriptionRef>,
    /// Outcome of the message.
    pub outcome: Outcome,
    /// The receipt that the sender asked for.
    pub receipt: Option<ReceiptRequest>,
}

impl End {
    /// The end of `message` as `outcome`.
    pub fn of(message: &Message, outcome: Outcome) -> Self {
        let Message { id, to, sequence, .. } = *message;
        let receipt = message.receipt.as_deref().copied();
        Self { user_agent: to.user_agent, id, sequence, to: Some(to), outcome, receipt }
    }

    /// The end of a stored message as `outcome`.
    pub const fn of_stored(stored: StoredMessage, outcome: Outcome) -> Self {
        let StoredMessage { id, to, sequence, since: _, receipt } = stored;
        Self { user_agent: to.user_agent, id, sequence, to: Some(to), outcome, receipt }
    }

    /// True if a receipt is due: one was asked for, and the outcome has one (RFC 8030 section 6.3).
    pub const fn has_receipt(&self) -> bool {
        self.receipt.is_some() && self.to.is_some() && self.outcome.receipt().is_some()
    }

    /// The receipt that is due, as a message for the log.
    ///
    /// Guarantee of a store: the receipt is in the log, durably, before the end is durable, so a crash in between makes it
    /// again, with the same id.
    pub fn receipt(&self, ended_at: Timestamp) -> Option<Message> {
        //= RFC 8030 section 5.1
        //# The push service MUST support delivery confirmations.
        let (asked, to, outcome) = (self.receipt?, self.to?, self.outcome);
        outcome.receipt()?;
        let Self { user_agent, id, sequence, .. } = *self;
        let message = MessageRef { user_agent, channel: to.channel, id, sequence };
        Some(Receipt { message, outcome, ended_at }.to_message(&asked))
    }
}

/// Subscriber of ends.
///
/// Guarantee: an end is told once in a life of the store, when the account has the end, whether the message
/// ended in the log or in the mailbox. After a crash an end not yet durable happens again, and is told again;
/// a durable end not told yet is not told any more. An exact record of ends belongs with the account: into
/// the transaction, or into the note of a commit. Messages known by number alone (lost from the log, or with
/// a damaged database) are in the account alone.
pub trait Ends: Send + Sync + fmt::Debug {
    /// Takes ends of the time `at`, at least one. Called by the writer, and so must not wait.
    fn ended(&self, at: Timestamp, ends: &[End]);
}

/// Way from a store to the subscriber of its ends. A store without a subscriber gathers nothing.
#[derive(Debug, Clone)]
pub struct EndFeed {
    clock: Arc<dyn Clock>,
    subscriber: Arc<dyn Ends>,
}

impl EndFeed {
    /// A way to `subscriber`, with the time by `clock`.
    pub fn new(clock: Arc<dyn Clock>, subscriber: Arc<dyn Ends>) -> Self {
        Self { clock, subscriber }
    }

    /// The time by the clock of the feed.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells `ends`, if there are any.
    pub fn tell(&self, ends: &[End]) {
        if !ends.is_empty() {
            self.subscriber.ended(self.clock.now(), ends);
        }
    }
}
