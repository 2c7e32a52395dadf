use pushgrid_store::Cancelled;
use pushgrid_types::{MessageId, Outcome, UserAgentId};
use tokio::sync::oneshot;

use super::{EarlyCancel, Partition, Place, SettleStored, Turn};

impl Partition {
    /// The application server takes a message back.
    pub(crate) fn cancel(
        &mut self,
        user_agent: UserAgentId,
        id: MessageId,
        reply: oneshot::Sender<Cancelled>,
    ) {
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
            cancel: Some((id, reply)),
        });
    }

    /// What a cancellation met in the mailbox. Nothing: the message has ended, or is so new that it has not come out
    /// of the log; only a short wait can tell.
    pub(crate) fn cancel_met(
        &mut self,
        turn: Turn<'_>,
        id: MessageId,
        was_there: bool,
        reply: oneshot::Sender<Cancelled>,
    ) {
        if was_there {
            answer(reply, Cancelled::Ended);
        } else if self.early.len() < self.limits.early_cancels {
            let until = turn.now.plus(self.limits.cancel_grace);
            if let Some(earlier) = self.early.insert(id, EarlyCancel { until, reply }) {
                answer(earlier.reply, Cancelled::Gone);
            }
        } else {
            answer(reply, Cancelled::Gone);
        }
    }
}

/// Whoever asked may have gone away meanwhile; the deed is done all the same.
pub(super) fn answer(reply: oneshot::Sender<Cancelled>, cancelled: Cancelled) {
    let _ = reply.send(cancelled);
}
