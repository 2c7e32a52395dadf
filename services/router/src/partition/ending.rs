use std::collections::HashMap;

use pushgrid_types::{MessageId, Outcome, Timestamp, UserAgentId};

use super::{Backlog, Partition};

impl Partition {
    /// Notes what the work of this turn takes out of the mailbox: a page that is read meanwhile may still hold it. A
    /// cancellation does not know yet whether its message is there, so it is not noted.
    pub(super) fn note_ending(&mut self) {
        let certain = self.work.settle_mailbox.iter().filter(|settle| settle.cancel.is_none());
        for (id, _) in certain.flat_map(|settle| &settle.ended) {
            *self.ending.entry(*id).or_default() += 1;
        }
    }

    /// What was noted is out of the mailbox, or stays there after all: a page that is read from now on tells which.
    /// One that is on its way may have been read before. `met` says of each whether it was in the mailbox, and so
    /// cannot come out of the log any more.
    pub(crate) fn settled(&mut self, user_agent: UserAgentId, ended: &[(MessageId, Outcome)], met: &[bool]) {
        for ((id, _), _) in ended.iter().zip(met).filter(|(_, met)| **met) {
            self.early_ends.remove(id);
        }
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_some_and(|session| matches!(session.backlog, Backlog::Reading { .. })) {
            self.ended_while_reading.entry(user_agent).or_default().extend(ended.iter().map(|(id, _)| id));
        } else {
            for (id, _) in ended {
                self.forget_ending(*id);
            }
        }
    }

    /// Ends a message that is not known here: it is in the mailbox, or an earlier owner of the partition sent it and it has
    /// not come out of the log yet.
    pub(super) fn end_unknown(
        &mut self,
        now: Timestamp,
        user_agent: UserAgentId,
        id: MessageId,
        outcome: Outcome,
    ) {
        let until = *self.early_ends_until.get_or_insert_with(|| now.plus(self.limits.early_ends_for));
        if now >= until {
            self.early_ends = HashMap::new();
        } else if self.early_ends.len() < self.limits.early_ends {
            self.early_ends.entry(id).or_insert(outcome);
        }
        self.work.end_stored(user_agent, id, outcome);
    }

    /// No page of this user agent that was read before now will be looked at.
    pub(super) fn forget_ended_while_reading(&mut self, user_agent: UserAgentId) {
        for id in self.ended_while_reading.remove(&user_agent).unwrap_or_default() {
            self.forget_ending(id);
        }
    }

    fn forget_ending(&mut self, id: MessageId) {
        if let Some(calls) = self.ending.get_mut(&id) {
            *calls -= 1;
            if *calls == 0 {
                self.ending.remove(&id);
            }
        }
    }
}
