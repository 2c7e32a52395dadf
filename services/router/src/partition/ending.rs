//! Messages whose end is on the way to the mailbox. Invariant: no page possibly read before the end was
//! durable sends such a message again.

use pushgrid_types::{MessageId, Outcome, UserAgentId};

use super::{Named, Partition};

impl Partition {
    /// Records the messages removed from the mailbox by this turn's work: a page read meanwhile may still
    /// hold them. A message whose cancellation may not find it is not recorded.
    pub(super) fn note_ending(&mut self) {
        let certain = self
            .work
            .settle_mailbox
            .iter()
            .filter(|settle| settle.cancel.as_ref().is_none_or(|cancelling| cancelling.was_stored));
        for settle in certain {
            for (id, _) in &settle.ended {
                *self.ending.entry((settle.user_agent, *id)).or_default() += 1;
            }
        }
    }

    /// Takes in that messages have been removed, or stay after all. A later page shows the result; a page
    /// still being read may predate the removal. `met` tells of each message whether it was in the mailbox,
    /// and so cannot come out of the log any more.
    pub(crate) fn settled(&mut self, user_agent: UserAgentId, ended: &[(MessageId, Outcome)], met: &[bool]) {
        for ((id, _), _) in ended.iter().zip(met).filter(|(_, met)| **met) {
            self.early_ends.take(user_agent, *id);
        }
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_some_and(|session| session.backlog.is_reading()) {
            self.ended_while_reading.entry(user_agent).or_default().extend(ended.iter().map(|(id, _)| id));
        } else {
            for (id, _) in ended {
                self.forget_ending((user_agent, *id));
            }
        }
    }

    /// Takes in that a cancellation has removed a message from the mailbox: a page still being read may predate the
    /// removal, and would send the message after the answer.
    pub(super) fn removed(&mut self, user_agent: UserAgentId, id: MessageId) {
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_some_and(|session| session.backlog.is_reading()) {
            *self.ending.entry((user_agent, id)).or_default() += 1;
            self.ended_while_reading.entry(user_agent).or_default().push(id);
        }
    }

    /// Ends a message in no window: stored, or sent by an earlier owner and not yet re-read from the log.
    /// Without a backlog the mailbox cannot hold the message, and is not asked.
    pub(super) fn end_unknown(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) {
        self.early_ends.remember(&self.limits, user_agent, id, outcome);
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_none_or(|session| !session.backlog.is_empty()) {
            self.work.end_stored(user_agent, id, outcome);
        }
    }

    /// Forgets what a page of the user agent may have been too old to show: no earlier page can arrive any more.
    pub(super) fn page_is_over(&mut self, user_agent: UserAgentId) {
        self.forget_stored_while_reading(user_agent);
        for id in self.ended_while_reading.remove(&user_agent).unwrap_or_default() {
            self.forget_ending((user_agent, id));
        }
    }

    fn forget_ending(&mut self, named: Named) {
        if let Some(calls) = self.ending.get_mut(&named) {
            *calls -= 1;
            if *calls == 0 {
                self.ending.remove(&named);
            }
        }
    }
}
