use pushgrid_store::{Change, Subscription};
use pushgrid_types::{ChannelId, SubscriptionRef, UserAgentId};

use super::Draft;

impl Draft<'_> {
    pub(super) fn put(
        &mut self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Option<Subscription> {
        let key = (new.id.user_agent, new.id.channel);
        let present = self.subscription(key.0, key.1);
        if present.clone().map(|present| present.id) != expected {
            return present;
        }
        self.changed.insert(key);
        // The old one first: it must not come back when the new one has ended and compaction has forgotten that.
        if let Some(old) = present.clone().filter(|old| old.id != new.id) {
            self.changes.push(Change::Unsubscribed(old.id));
        }
        self.changes.push(Change::Subscribed(new.clone()));
        self.known.subscriptions.insert(key, new.clone());
        if present.is_none_or(|old| old.id != new.id) {
            self.remember_former(key);
        }
        Some(new)
    }

    /// Remembers the last waiting message as one of an earlier life. Messages of the new life are accepted
    /// later, and so come after.
    fn remember_former(&mut self, key: (UserAgentId, ChannelId)) {
        let waiting = self.known.whole.get(&key).into_iter().flatten();
        let last = waiting.copied().chain(self.fresh_of(key)).map(|stored| stored.sequence).max();
        if let Some(last) = last {
            self.former.insert(key, last);
        }
    }

    /// Ends a subscription. A tombstone means the same in all versions, and so ends one readable only by a
    /// newer release as well.
    pub(super) fn remove(&mut self, of: UserAgentId, on: ChannelId) -> bool {
        let mut ended = self.core.context.unreadable.newer_of(of);
        ended.retain(|newer| newer.channel == on);
        if let Some(present) = self.known.subscriptions.remove(&(of, on))
            && !ended.contains(&present.id)
        {
            ended.push(present.id);
        }
        if ended.is_empty() {
            return false;
        }
        self.changed.insert((of, on));
        // Its messages first: of a cycle that is written in part, the user agent asks again for what is missing.
        self.end_channel(of, on);
        self.changes.extend(ended.into_iter().map(Change::Unsubscribed));
        true
    }
}
