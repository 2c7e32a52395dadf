//! Events of ends: the source of receipts, timelines and usage.

use std::fmt;
use std::sync::Arc;

use pushgrid_types::{Clock, Message, MessageId, Outcome, Sequence, SubscriptionRef, Timestamp, UserAgentId};

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
}

impl End {
    /// The end of `message` as `outcome`.
    pub fn of(message: &Message, outcome: Outcome) -> Self {
        let Message { id, to, sequence, .. } = *message;
        Self { user_agent: to.user_agent, id, sequence, to: Some(to), outcome }
    }

    /// The end of a stored message as `outcome`.
    pub const fn of_stored(stored: StoredMessage, outcome: Outcome) -> Self {
        let StoredMessage { id, to, sequence, since: _ } = stored;
        Self { user_agent: to.user_agent, id, sequence, to: Some(to), outcome }
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

    /// Tells `ends`, if there are any.
    pub fn tell(&self, ends: &[End]) {
        if !ends.is_empty() {
            self.subscriber.ended(self.clock.now(), ends);
        }
    }
}
