//! Keys of records passed over: subscriptions readable only by a newer release are alive, and of some
//! messages only a damaged record is left. Bound: `KNOWN` keys of each kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::{Change, RecordKey, Unreadable, UnreadableCause};
use pushgrid_types::{LeaderEpoch, MessageId, Position, SubscriptionRef, UserAgentId};

/// Keys of each kind remembered. Beyond, a subscription is answered by the view alone, and a message stays
/// without an outcome.
const KNOWN: usize = 100_000;

/// Keys of a partition with an unreadable last record.
#[derive(Debug, Default)]
pub(crate) struct UnreadableKeys(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    /// Subscriptions written by a newer release, each with the position of the record.
    newer: BTreeMap<UserAgentId, HashMap<SubscriptionRef, Position>>,
    subscriptions: usize,
    damaged: BTreeSet<(UserAgentId, MessageId, LeaderEpoch)>,
}

impl Keys {
    fn forget(&mut self, id: &SubscriptionRef) {
        let Some(newer) = self.newer.get_mut(&id.user_agent) else { return };
        self.subscriptions -= usize::from(newer.remove(id).is_some());
        if newer.is_empty() {
            self.newer.remove(&id.user_agent);
        }
    }
}

impl UnreadableKeys {
    /// Enters a record passed over by a replay.
    pub(crate) fn pass_over(&self, unreadable: &Unreadable) {
        let Some(key) = unreadable.key else { return };
        let mut keys = self.lock();
        match (key, unreadable.cause) {
            (RecordKey::Subscription(id), UnreadableCause::Newer) => {
                keys.forget(&id);
                if !unreadable.is_tombstone && keys.subscriptions < KNOWN {
                    keys.newer.entry(id.user_agent).or_default().insert(id, unreadable.position);
                    keys.subscriptions += 1;
                }
            }
            (RecordKey::Message { user_agent, id, since }, UnreadableCause::Damaged) => {
                if keys.damaged.len() < KNOWN {
                    keys.damaged.insert((user_agent, id, since));
                }
            }
            (RecordKey::Message { user_agent, id, since }, UnreadableCause::Newer) => {
                keys.damaged.remove(&(user_agent, id, since));
            }
            (RecordKey::Subscription(_), UnreadableCause::Damaged) => {}
        }
    }

    /// Removes the keys of later, effective changes.
    pub(crate) fn supersede(&self, changes: &[Change]) {
        let mut keys = self.lock();
        if keys.newer.is_empty() && keys.damaged.is_empty() {
            return;
        }
        for change in changes {
            match RecordKey::of(change) {
                Some(RecordKey::Subscription(id)) => keys.forget(&id),
                Some(RecordKey::Message { user_agent, id, since }) => {
                    keys.damaged.remove(&(user_agent, id, since));
                }
                None => {}
            }
        }
    }

    /// True for a subscription readable only by a newer release.
    pub(crate) fn has_newer(&self, id: &SubscriptionRef) -> bool {
        self.lock().newer.get(&id.user_agent).is_some_and(|newer| newer.contains_key(id))
    }

    /// Subscriptions of a user agent readable only by a newer release.
    pub(crate) fn newer_of(&self, user_agent: UserAgentId) -> Vec<SubscriptionRef> {
        self.lock().newer.get(&user_agent).into_iter().flat_map(|newer| newer.keys().copied()).collect()
    }

    /// First position from which a replay meets all of these subscriptions.
    pub(crate) fn first_newer(&self) -> Option<Position> {
        self.lock().newer.values().flat_map(HashMap::values).min().copied()
    }

    /// Messages of which a damaged record is the last.
    pub(crate) fn damaged(&self) -> Vec<(UserAgentId, MessageId, LeaderEpoch)> {
        self.lock().damaged.iter().copied().collect()
    }

    /// Forgets the messages of [`Self::damaged`].
    pub(crate) fn forget_damaged(&self) {
        self.lock().damaged.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock()
    }
}
