use pushgrid_mailbox::Cause;
use pushgrid_store::StoredMessage;
use pushgrid_types::{ChannelId, MessageId, Outcome, UserAgentId};

use super::Draft;

impl Draft<'_> {
    pub(super) fn settle(&mut self, of: UserAgentId, id: MessageId, outcome: Outcome) -> bool {
        self.stored(of, id).is_some_and(|stored| self.end(stored, Cause::Reported(outcome)))
    }

    /// Ends all messages waiting for a channel, of any incarnation.
    pub(super) fn end_channel(&mut self, of: UserAgentId, on: ChannelId) {
        let mut waiting = self.known.whole.get(&(of, on)).cloned().unwrap_or_default();
        waiting.extend(self.fresh_of((of, on)));
        for stored in waiting {
            self.end(stored, Cause::Unsubscribed);
        }
        self.former.remove(&(of, on));
    }

    /// Messages stored by this cycle for a channel.
    pub(super) fn fresh_of(&self, channel: (UserAgentId, ChannelId)) -> impl Iterator<Item = StoredMessage> {
        let fresh = self.fresh.values().map(|fresh| fresh.stored);
        fresh.filter(move |stored| (stored.to.user_agent, stored.to.channel) == channel)
    }

    /// Ends the expired messages, and returns the number ended. Messages stored by this cycle are left to the
    /// next.
    pub(super) fn expire(&mut self) -> usize {
        let due = self.known.due.pop_front().unwrap_or_default();
        due.into_iter().filter(|stored| self.end(*stored, Cause::Expired)).count()
    }
}
