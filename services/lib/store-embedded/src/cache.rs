//! Cache of subscriptions, and of channels known to have none.
//!
//! Invariant: an entry is never older than the last committed change of its channel. A change bumps the generation of
//! its shard and sets the entry under the shard's lock; a reader, which may have read the file before that change,
//! fills an entry only if the generation is still the one from before the read.

use std::hash::{BuildHasher, RandomState};

use moka::sync::Cache;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::Subscription;
use pushgrid_types::cast::fitting;
use pushgrid_types::{ChannelId, UserAgentId};

/// Shards: so many that a change rarely keeps a reader of another channel from filling its entry.
const SHARDS: usize = 256;

/// User agent and channel.
pub(crate) type Key = (UserAgentId, ChannelId);

/// Answer of the cache for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Present(Subscription),
    /// Known to have no subscription.
    Absent,
    /// Unknown: the file has to be read.
    Nothing,
}

/// Generation of a shard at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

#[derive(Debug)]
pub(crate) struct SubscriptionCache {
    entries: Cache<Key, Option<Subscription>>,
    generations: Box<[Mutex<Generation>]>,
    hasher: RandomState,
}

impl SubscriptionCache {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            entries: Cache::new(capacity),
            generations: (0..SHARDS).map(|_| Mutex::new(Generation(0))).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Looks a channel up.
    pub(crate) fn get(&self, key: &Key) -> Known {
        match self.entries.get(key) {
            Some(Some(subscription)) => Known::Present(subscription),
            Some(None) => Known::Absent,
            None => Known::Nothing,
        }
    }

    /// Generation to take before a read of the file, for [`Self::fill`].
    pub(crate) fn generation(&self, key: &Key) -> Generation {
        *self.shard(key)
    }

    /// Fills an entry from a read, unless its shard has changed since `before`.
    pub(crate) fn fill(&self, key: Key, found: Option<Subscription>, before: Generation) {
        let generation = self.shard(&key);
        if *generation == before {
            self.entries.insert(key, found);
        }
    }

    /// Sets the entries of committed changes.
    pub(crate) fn publish(&self, changes: &[(Key, Option<Subscription>)]) {
        for (key, present) in changes {
            let mut generation = self.shard(key);
            generation.0 += 1;
            self.entries.insert(*key, present.clone());
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Generation> {
        let hash = self.hasher.hash_one(key);
        let index = fitting::<usize>(hash % SHARDS as u64);
        self.generations[index].lock()
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_types::{Incarnation, Restriction, SubscriptionRef, Timestamp};

    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let cache = SubscriptionCache::new(10);
        let (user_agent, channel) = (UserAgentId::from_octets([1; 16]), ChannelId::from_octets([2; 16]));
        let id = SubscriptionRef { user_agent, channel, incarnation: Incarnation::from_octets([3; 12]) };
        let subscription = Subscription {
            id,
            restriction: Restriction::Open,
            seen_at: Timestamp::from_millis(4),
            is_noted: true,
            webhook: None,
        };
        let key = (user_agent, channel);

        let before = cache.generation(&key);
        cache.publish(&[(key, None)]);
        cache.fill(key, Some(subscription.clone()), before);
        assert_eq!(cache.get(&key), Known::Absent, "the removal stands");

        let before = cache.generation(&key);
        cache.fill(key, Some(subscription.clone()), before);
        assert_eq!(cache.get(&key), Known::Present(subscription), "what was read after it is remembered");
    }
}
