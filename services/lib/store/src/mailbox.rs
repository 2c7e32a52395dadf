//! The mailbox: messages stored for user agents until acknowledged, expired or otherwise ended.
//!
//! Invariant: of one subscription and topic at most one message is stored, the one with the highest sequence
//! (promise P5). Which stored messages are on a socket is the router's to know.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, MessageId, Outcome, Sequence, Timestamp, Urgency, UserAgentId};

use crate::StoreError;

/// Result of storing one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Stored, now or by an earlier call.
    Kept,
    /// Ended instead: the subscription was gone, or a newer message of the same topic was stored already.
    Ended(Outcome),
}

/// Bounds of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Largest number of messages.
    pub messages: usize,
    /// Octets of bodies after which no further message is added. The first message always comes.
    pub octets: usize,
}

/// Beginning of a page: a place for each urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageStart {
    /// Least urgency of the messages of the page.
    pub min_urgency: Urgency,
    /// Sequence after which the messages of each urgency begin, by [`Urgency::level`].
    pub after: [Sequence; Urgency::ALL.len()],
}

impl PageStart {
    /// Beginning of the mailbox, for messages of any urgency.
    pub const FIRST: Self = Self::after(Sequence(0));

    /// Place after `sequence`, for messages of any urgency.
    pub const fn after(sequence: Sequence) -> Self {
        Self { min_urgency: Urgency::LEAST, after: [sequence; Urgency::ALL.len()] }
    }

    /// Place after `sequence`, for messages of exactly this urgency.
    pub fn of(urgency: Urgency, sequence: Sequence) -> Self {
        let mut after = [Sequence(u64::MAX); Urgency::ALL.len()];
        after[usize::from(urgency.level())] = sequence;
        Self { min_urgency: urgency, after }
    }

    /// Urgencies of the page, in its order: the greatest first, each with its place.
    pub fn places(&self) -> impl Iterator<Item = (Urgency, Sequence)> + use<> {
        let Self { min_urgency, after } = *self;
        let places = Urgency::ALL.into_iter().zip(after).rev();
        places.take_while(move |(urgency, _)| *urgency >= min_urgency)
    }
}

/// Stored messages from a place on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages, in the order of a page.
    pub messages: Vec<Message>,
    /// True only if nothing else was stored from the place on: then the next page would be empty.
    pub is_last: bool,
}

impl Page {
    /// Page of an empty mailbox.
    pub const EMPTY: Self = Self { messages: Vec::new(), is_last: true };
}

/// Messages stored for one user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of messages.
    pub messages: u64,
    /// Sum of the bodies, in octets.
    pub octets: u64,
}

/// The stored messages of user agents.
#[async_trait]
pub trait Mailbox: Send + Sync + fmt::Debug {
    /// Takes messages over from the log, any mix of user agents; the answer has one entry for each, in order.
    ///
    /// Guarantee: durable at return; a message taken over is no longer in the log. Idempotent by sequence. Of
    /// the messages of one subscription and topic, the one with the highest sequence stays and the others end
    /// as [`Outcome::Replaced`], in whatever order they come (promise P5). A message whose subscription does
    /// not exist in that very incarnation ends as [`Outcome::Unsubscribed`].
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError>;

    /// Stored messages of `user_agent` from `start` on, the most urgent first and those of one urgency in the order
    /// of their sequences, without those expired at `now`. A message of the page says that none of a greater urgency
    /// is stored beside those before it; an empty page, that nothing is stored from `start` on.
    async fn page(
        &self,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, StoreError>;

    /// A stored message by its id; `None` for one of another user agent, and for one that is not stored. Also an expired
    /// one, as long as it has not ended.
    async fn message(&self, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Ends stored messages by id; ids of other user agents and unknown ones are passed over. The answer has
    /// one entry for each, true for a message that was stored.
    ///
    /// Guarantee: a message ends once, with the first outcome. Durable at return, unless every outcome of the
    /// call is [`Outcome::Delivered`]: such a change may be written lazily, and a crash may then redeliver
    /// the messages.
    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError>;

    /// Ends up to `limit` stored messages that are expired at `now`, and returns the number ended.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Usage of `user_agent`'s mailbox. May be a moment old.
    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError>;
}
