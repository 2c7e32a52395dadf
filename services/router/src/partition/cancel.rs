//! End of a message by its address: cancelled by its application server, or acknowledged by its user agent outside of
//! a session. Looks in every possible place of the message: in the window, on the way into the mailbox, in the
//! mailbox, or still in the log. The reply is exact; a dropped reply means an unknown outcome.
//!
//! Invariant: no cancellation is answered before its end is durable. A message in the log waits for a flush
//! ([`super::Work::answers`]), one on the way into the mailbox for its end there.

use pushgrid_store::{Cancelled, End};
use pushgrid_types::{MessageRef, Sequence};

use super::{CancelReply, Cancelling, EarlyCancel, Partition, Place, SettleStored, Storing, Turn};

impl Partition {
    /// Ends a message by its address: a cancellation in a log that has been read as far as it matters
    /// ([`super::EndAsker`]). Answers at once where the partition alone can tell; otherwise the mailbox is asked, and
    /// [`Self::cancel_met`] answers.
    pub(crate) fn cancel(&mut self, message: MessageRef, reply: CancelReply) {
        let stored_to = self.storing_newer_topics(&message);
        self.cancel_once_stored(message, reply, stored_to);
    }

    /// The same, once messages with a topic up to the sequence `stored_to` are in the mailbox.
    pub(super) fn cancel_once_stored(
        &mut self,
        message: MessageRef,
        reply: CancelReply,
        stored_to: Option<Sequence>,
    ) {
        let outcome = reply.outcome();
        let MessageRef { user_agent, id, sequence, .. } = message;
        let flying = self.agents.get_mut(&user_agent).and_then(|agent| {
            let session = agent.session.as_deref_mut()?;
            session.find(id).map(|index| session.take(index))
        });
        if let Some(flying) = &flying {
            let delivered = reply.acknowledged_at.map(|at| at.since(flying.accepted_at));
            self.tally.delivered.extend(delivered);
            // The freed slot of the window may take a stored message.
            self.read_on(user_agent);
        }
        let place = flying.map(|flying| flying.place);
        if let Some(Place::Log(message)) = &place {
            self.work.settle_log.push(End::of(message, outcome));
            return self.work.answer(reply, Cancelled::Ended);
        }
        if let Some(agent) = self.agents.get_mut(&user_agent)
            && let Some(index) = agent.storing.iter().position(|storing| storing.id == id)
        {
            let is_replaced = agent.replaces(index);
            let refused = agent.storing[index].cancel(reply, is_replaced);
            if let Some(reply) = refused {
                self.work.answer(reply, Cancelled::Gone);
            }
            return;
        }
        if let Some(stored_to) = stored_to.filter(|_| place.is_none()) {
            return self.cancel_after_store(message, reply, stored_to);
        }
        self.work.settle_mailbox.push(SettleStored {
            user_agent,
            ended: vec![(id, outcome)],
            cancel: Some(Cancelling {
                message,
                routed: sequence < self.read_to,
                was_stored: matches!(place, Some(Place::Mailbox(_))),
                reply,
            }),
        });
    }

    /// Drops a cancellation after a failed answer of the mailbox. The dropped reply means unknown.
    pub(crate) fn cancel_failed(&mut self, cancelling: &Cancelling) {
        self.forget_cancelling(cancelling, false);
    }

    fn forget_cancelling(&mut self, cancelling: &Cancelling, was_there: bool) {
        let MessageRef { user_agent, id, .. } = cancelling.message;
        if cancelling.was_stored {
            self.settled(user_agent, &[(id, cancelling.reply.outcome())], &[was_there]);
        } else if was_there {
            self.removed(user_agent, id);
        }
    }

    /// Takes the mailbox's answer in. If the mailbox did not hold the message, one already out of the log has
    /// ended; any other may still come.
    pub(crate) fn cancel_met(&mut self, turn: Turn<'_>, was_there: bool, cancelling: Cancelling) {
        self.forget_cancelling(&cancelling, was_there);
        let Cancelling { message, routed, reply, .. } = cancelling;
        if was_there {
            // Durable: it was the mailbox that ended the message.
            reply.answer(Cancelled::Ended);
        } else if routed {
            self.work.answer(reply, Cancelled::Gone);
        } else if message.sequence < self.read_to {
            // The message came out while the mailbox was asked.
            self.cancel(message, reply);
        } else if self.early.len() < self.limits.early_cancels {
            let early = EarlyCancel {
                until: turn.now.plus(self.limits.cancel_grace),
                sequence: message.sequence,
                read_to: self.read_to,
                reply,
            };
            self.early.entry((message.user_agent, message.id)).or_insert(early);
        } // Dropped unanswered, it is unavailable: too many wait already, or somebody does for this very message.
    }
}

impl Storing {
    /// Ends the message on its way. An acknowledgement is answered at once, a cancellation once the message has ended
    /// in the mailbox. Returns the reply of a message that has ended already, or is being replaced.
    fn cancel(&mut self, reply: CancelReply, is_replaced: bool) -> Option<CancelReply> {
        let is_pending = self.ended.is_none() && !is_replaced;
        self.ended.get_or_insert(reply.outcome());
        if is_pending {
            self.answer_once_stored(reply);
            return None;
        }
        match &self.cancel {
            Some(first) if !reply.is_acknowledgement() => {
                if first.is_abandoned() {
                    self.cancel = Some(reply);
                } // Dropped unanswered, it is unavailable: somebody waits for this very end.
                None
            }
            _ => Some(reply),
        }
    }

    /// Answers whoever ended the message on its way: a cancellation only when the end is durable.
    pub(super) fn answer_once_stored(&mut self, reply: CancelReply) {
        if reply.is_acknowledgement() {
            reply.answer(Cancelled::Ended);
        } else {
            self.cancel = Some(reply);
        }
    }
}
