use pushgrid_store::Stored;
use pushgrid_types::{Message, Outcome, ReplaceKey, Sequence, SubscriptionRef};

/// Outcome of the second copy of a message in the log, when the first waits under the same id.
pub const REPEAT: Outcome = Outcome::Replaced;

/// Answers to the questions of [`judge`] about a message, in the order of the methods.
pub trait Facts {
    /// Name of a stored message, by which the adapter can end the message.
    type Stored;
    /// Failure of a look-up: nothing is decided then.
    type Error;

    /// Place of the message at present.
    fn place(&mut self, message: &Message) -> Result<Place, Self::Error>;

    /// Tells whether a subscription is alive, in exactly this incarnation.
    fn is_alive(&mut self, subscription: SubscriptionRef) -> Result<bool, Self::Error>;

    /// The message waiting in a topic of a subscription, with its sequence. At most one is (promise P5).
    fn in_topic(
        &mut self,
        subscription: SubscriptionRef,
        topic: &ReplaceKey,
    ) -> Result<Option<(Sequence, Self::Stored)>, Self::Error>;
}

/// Place of a message on the way into the mailbox. In neither log nor mailbox: the message has ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Still in the log, with no outcome yet.
    pub in_log: bool,
    /// Sequence of the message waiting in the mailbox under the same id; another sequence if the log has the
    /// message twice. An adapter that knows messages by sequence alone looks for the message's own sequence.
    pub in_mailbox: Option<Sequence>,
}

/// Fate of a message on the way into the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<S> {
    /// Answer to the caller of the store.
    pub answer: Stored,
    /// Change for this decision; `None` when nothing is left to do.
    pub change: Option<Change<S>>,
}

/// Change of the mailbox by a message of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<S> {
    /// The message comes into the mailbox. The replaced one ends by
    /// [`Cause::Replaced`](crate::Cause::Replaced), and ends first: if only the end is written, the newer
    /// message is still in the log.
    Keep {
        /// The older message of its topic.
        replaces: Option<S>,
    },
    /// The message leaves the log for the mailbox, where a copy is already.
    Moved,
    /// The message ends without having been stored.
    End(Outcome),
    /// The message ends as [`REPEAT`] of the one waiting under the same id.
    EndRepeat,
}

/// Decides about a message on the way into the mailbox (RFC 8030 sections 5.2 and 5.4).
///
/// Guarantee: of the messages of one subscription and topic the one with the highest sequence stays, for any
/// order of arrival (promise P5).
pub fn judge<F: Facts>(message: &Message, facts: &mut F) -> Result<Decision<F::Stored>, F::Error> {
    let Place { in_log, in_mailbox } = facts.place(message)?;
    let decide = |answer, change| Decision { answer, change: in_log.then_some(change) };
    match in_mailbox {
        Some(sequence) if sequence == message.sequence => return Ok(decide(Stored::Kept, Change::Moved)),
        Some(_) => return Ok(decide(Stored::Ended(REPEAT), Change::EndRepeat)),
        None => {}
    }
    let end = |outcome| Ok(decide(Stored::Ended(outcome), Change::End(outcome)));
    if !facts.is_alive(message.to)? {
        return end(Outcome::Unsubscribed);
    }
    let rival = match &message.topic {
        Some(topic) => facts.in_topic(message.to, topic)?,
        None => None,
    };
    match rival {
        Some((newer, _)) if newer > message.sequence => end(Outcome::Replaced),
        older => {
            let replaces = older.map(|(_, older)| older);
            Ok(decide(Stored::Kept, Change::Keep { replaces }))
        }
    }
}

#[cfg(test)]
mod tests;
