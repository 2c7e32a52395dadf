//! Stored messages of each user agent, in number and octets, and the earliest expiry of each: kept in memory, exact
//! after every transaction. As large as the number of user agents with stored messages.
//!
//! Replaces an index by expiry in the file: there the messages of one user agent stand together, messages of one
//! expiry do not, and every store and every acknowledgement would have to write pages of the index.
//!
//! Invariant: no stored message of a user agent expires before `first_expiry`. The value may be too early, when the
//! message has ended another way; the next look corrects this.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::Usage;
use pushgrid_types::{Timestamp, UserAgentId};
use rusqlite::Connection;

use crate::failure::Failure;
use crate::row;

/// Answered from the index alone.
pub(crate) const READ: &str = "SELECT user_agent, COUNT(*), SUM(octets), MIN(expires_at)
    FROM message INDEXED BY message_of_user_agent WHERE stored = 1 GROUP BY user_agent";

/// Change of one user agent's usage by a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// A message was stored.
    Came { octets: u64, expires_at: Timestamp },
    /// A stored message ended.
    Went { octets: u64 },
    /// The earliest expiry was looked up.
    FirstExpiry(Timestamp),
}

#[derive(Debug, Default)]
pub(crate) struct Usages(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<UserAgentId, Waiting>,
    /// The same user agents, by first expiry.
    by_expiry: BTreeSet<(Timestamp, UserAgentId)>,
}

#[derive(Debug)]
struct Waiting {
    usage: Usage,
    first_expiry: Timestamp,
}

impl Usages {
    pub(crate) fn load(connection: &Connection) -> Result<Self, Failure> {
        let mut state = State::default();
        let mut statement = connection.prepare(READ)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let usage = Usage { messages: row::unsigned(row, 1)?, octets: row::unsigned(row, 2)? };
            let (user_agent, first_expiry) = (row::user_agent(row, 0)?, row::timestamp(row, 3)?);
            state.waiting.insert(user_agent, Waiting { usage, first_expiry });
            state.by_expiry.insert((first_expiry, user_agent));
        }
        Ok(Self(Mutex::new(state)))
    }

    pub(crate) fn of(&self, user_agent: UserAgentId) -> Usage {
        self.lock().waiting.get(&user_agent).map_or_else(Usage::default, |waiting| waiting.usage)
    }

    /// User agents that may have expired messages at `now`, at most `limit`.
    pub(crate) fn due(&self, now: Timestamp, limit: usize) -> Vec<UserAgentId> {
        let state = self.lock();
        let due = state.by_expiry.iter().take_while(|(first_expiry, _)| *first_expiry <= now);
        due.take(limit).map(|(_, user_agent)| *user_agent).collect()
    }

    /// Takes a user agent out of the due ones, until the next message is stored.
    pub(crate) fn set_aside(&self, user_agent: UserAgentId) {
        self.lock().move_expiry(user_agent, Timestamp::from_millis(u64::MAX));
    }

    /// Enters the changes of a committed transaction, so a message comes before it goes.
    pub(crate) fn publish(&self, changes: &[(UserAgentId, Change)]) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.lock();
        for (user_agent, change) in changes {
            state.change(*user_agent, *change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    fn change(&mut self, user_agent: UserAgentId, change: Change) {
        match (self.waiting.entry(user_agent), change) {
            (Entry::Vacant(entry), Change::Came { octets, expires_at }) => {
                let usage = Usage { messages: 1, octets };
                entry.insert(Waiting { usage, first_expiry: expires_at });
                self.by_expiry.insert((expires_at, user_agent));
            }
            (Entry::Occupied(mut entry), Change::Came { octets, expires_at }) => {
                let waiting = entry.get_mut();
                waiting.usage.messages += 1;
                waiting.usage.octets += octets;
                let first_expiry = waiting.first_expiry.min(expires_at);
                self.move_expiry(user_agent, first_expiry);
            }
            (Entry::Occupied(mut entry), Change::Went { octets }) => {
                let waiting = entry.get_mut();
                waiting.usage.messages -= 1;
                waiting.usage.octets -= octets;
                if waiting.usage.messages == 0 {
                    self.by_expiry.remove(&(waiting.first_expiry, user_agent));
                    entry.remove();
                }
            }
            (Entry::Occupied(_), Change::FirstExpiry(first_expiry)) => {
                self.move_expiry(user_agent, first_expiry);
            }
            (Entry::Vacant(_), Change::Went { .. } | Change::FirstExpiry(_)) => {}
        }
    }

    fn move_expiry(&mut self, user_agent: UserAgentId, to: Timestamp) {
        if let Some(waiting) = self.waiting.get_mut(&user_agent)
            && waiting.first_expiry != to
        {
            self.by_expiry.remove(&(waiting.first_expiry, user_agent));
            self.by_expiry.insert((to, user_agent));
            waiting.first_expiry = to;
        }
    }
}
