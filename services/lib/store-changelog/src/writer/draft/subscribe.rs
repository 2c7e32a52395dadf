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
        if present.map(|present| present.id) != expected {
            return present;
        }
        self.changed.insert(key);
        // The old one first: it must not come back when the new one has ended and compaction has forgotten that.
        if let Some(old) = present.filter(|old| old.id != new.id) {
            self.changes.push(Change::Unsubscribed(old.id));
        }
        self.changes.push(Change::Subscribed(new));
        self.known.subscriptions.insert(key, new);
        if present.is_none_or(|old| old.id != new.id) {
            self.remember_former(key);
        }
        Some(new)
    }

    /// What waits now is of an earlier life. Messages of the new one are accepted later, so they come after it.
    fn remember_former(&mut self, key: (UserAgentId, ChannelId)) {
        let waiting = self.known.whole.get(&key).into_iter().flatten();
        let fresh = self.fresh.values().filter(|fresh| (fresh.of, fresh.on) == key);
        let last = waiting.chain(fresh.map(|fresh| &fresh.stored)).map(|stored| stored.sequence).max();
        if let Some(last) = last {
            self.former.insert(key, last);
        }
    }

    pub(super) fn remove(&mut self, of: UserAgentId, on: ChannelId) -> bool {
        let Some(present) = self.known.subscriptions.remove(&(of, on)) else { return false };
        self.changed.insert((of, on));
        self.changes.push(Change::Unsubscribed(present.id));
        true
    }
}
