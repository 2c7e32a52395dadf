use pushgrid_store::Cancelled;
use pushgrid_types::{MessageRef, Outcome};
use tokio::sync::oneshot;

use super::{Cancelling, EarlyCancel, Partition, Place, SettleStored, Turn};

impl Partition {
    /// The application server takes a message back.
    pub(crate) fn cancel(&mut self, message: MessageRef, reply: oneshot::Sender<Cancelled>) {
        let MessageRef { user_agent, id, sequence, .. } = message;
        let flying = self.agents.get_mut(&user_agent).and_then(|agent| {
            let session = agent.session.as_deref_mut()?;
            session.find(id).map(|index| session.take(index))
        });
        if flying.is_some() {
            self.read_on(user_agent);
        }
        if let Some(Place::Log(message)) = flying.map(|flying| flying.place) {
            self.work.settle_log.push((message.sequence, Outcome::Cancelled));
            return answer(reply, Cancelled::Ended);
        }
        let storing =
            self.agents.get_mut(&user_agent).map(|agent| agent.storing.iter_mut()).into_iter().flatten();
        if let Some(storing) = storing.into_iter().find(|storing| storing.id == id) {
            let first = storing.ended.is_none();
            storing.ended.get_or_insert(Outcome::Cancelled);
            return answer(reply, if first { Cancelled::Ended } else { Cancelled::Gone });
        }
        self.work.settle_mailbox.push(SettleStored {
            user_agent,
            ended: vec![(id, Outcome::Cancelled)],
            cancel: Some(Cancelling { message, routed: sequence <= self.routed, reply }),
        });
    }

    /// What a cancellation met in the mailbox. Nothing: the message has ended, if it had come out of the log before; else
    /// it may be on its way.
    pub(crate) fn cancel_met(&mut self, turn: Turn<'_>, was_there: bool, cancelling: Cancelling) {
        let Cancelling { message, routed, reply } = cancelling;
        if was_there {
            answer(reply, Cancelled::Ended);
        } else if routed {
            answer(reply, Cancelled::Gone);
        } else if message.sequence <= self.routed {
            // It came out while the mailbox was asked.
            self.cancel(message, reply);
        } else if self.early.len() < self.limits.early_cancels {
            let early = EarlyCancel {
                until: turn.now.plus(self.limits.cancel_grace),
                sequence: message.sequence,
                routed: self.routed,
                reply,
            };
            if let Some(earlier) = self.early.insert(message.id, early) {
                answer(earlier.reply, Cancelled::Gone);
            }
        } // Dropped unanswered, it is unavailable: too many wait already.
    }
}

/// Whoever asked may have gone away meanwhile; the deed is done all the same.
pub(super) fn answer(reply: oneshot::Sender<Cancelled>, cancelled: Cancelled) {
    let _ = reply.send(cancelled);
}
