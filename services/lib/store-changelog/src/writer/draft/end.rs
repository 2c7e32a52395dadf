use pushgrid_types::{ChannelId, MessageId, Outcome, UserAgentId};

use super::Draft;

impl Draft<'_> {
    pub(super) fn settle(&mut self, of: UserAgentId, id: MessageId, outcome: Outcome) -> bool {
        self.stored(of, id).is_some_and(|stored| self.end(of, stored, outcome))
    }

    pub(super) fn purge(&mut self, of: UserAgentId, on: ChannelId) {
        let mut waiting = self.known.whole.get(&(of, on)).cloned().unwrap_or_default();
        let fresh = self.fresh.values().filter(|fresh| (fresh.of, fresh.on) == (of, on));
        waiting.extend(fresh.map(|fresh| fresh.stored));
        for stored in waiting {
            self.end(of, stored, Outcome::Unsubscribed);
        }
        self.former.remove(&(of, on));
    }

    /// What this cycle stores is left to the next.
    pub(super) fn expire(&mut self) -> usize {
        let due = self.known.due.pop_front().unwrap_or_default();
        due.into_iter().filter(|(of, stored)| self.end(*of, *stored, Outcome::Expired)).count()
    }
}
