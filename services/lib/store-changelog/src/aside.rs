//! User agents set aside as unreadable in the view, and the backoff of each restoration from the changelog.
//! Bound: one replay restores up to 64 user agents. Not here: the restoration (`restore`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pushgrid_runtime::Backoff;
use pushgrid_store::{ErrorKind, StoreError};
use pushgrid_types::UserAgentId;
use tokio::time::Instant;

/// User agents restored together, from one replay of the changelog.
const TOGETHER: usize = 64;

/// Attempts after which an operator is told; more follow all the same.
const ENOUGH: u32 = 3;

/// The first pause between two tries.
const FIRST: Duration = Duration::from_secs(1);

/// Longest backoff between attempts, and memory of a restored user agent: if set aside again within this
/// time, the backoff goes on from its last value.
const LONGEST: Duration = Duration::from_hours(1);

/// User agents unreadable in the view, and those restored lately.
///
/// An attempt costs a replay of the whole changelog, beside the writer. So the backoff doubles with each
/// attempt, whether the attempt fails or the restored data is spoilt again.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    all: BTreeMap<UserAgentId, Trouble>,
    restored: u64,
}

#[derive(Debug)]
struct Trouble {
    /// Each attempt counts, failed or followed by new damage.
    tries: Backoff,
    /// Earliest time of the next attempt.
    next: Instant,
    is_over: bool,
}

impl Aside {
    /// Sets user agents aside. True if one of these was not yet.
    pub(crate) fn enter(&mut self, user_agents: &[UserAgentId], now: Instant) -> bool {
        let mut is_new = false;
        for user_agent in user_agents {
            let trouble = self.all.entry(*user_agent).or_insert_with(|| {
                tracing::warn!(
                    ?user_agent,
                    "the view of a user agent cannot be read: it is set aside until it is restored from the changelog"
                );
                Trouble { tries: Backoff::new(FIRST, LONGEST), next: now, is_over: true }
            });
            is_new |= trouble.is_over;
            trouble.is_over = false;
        }
        is_new
    }

    /// Begins an attempt for the user agents whose backoff is over.
    pub(crate) fn begin(&mut self, now: Instant) -> Vec<UserAgentId> {
        self.all.retain(|_, trouble| !trouble.is_over || now < trouble.next + LONGEST);
        let due = self.all.iter_mut().filter(|(_, trouble)| !trouble.is_over && trouble.next <= now);
        let begun = due.take(TOGETHER).map(|(user_agent, trouble)| {
            if trouble.tries.failures() == ENOUGH {
                tracing::error!(
                    ?user_agent,
                    "the view of a user agent is unreadable after each restoration: it stays set aside, and its messages wait"
                );
            }
            trouble.next = now + trouble.tries.fail();
            *user_agent
        });
        begun.collect()
    }

    /// Ends the setting aside of a user agent.
    pub(crate) fn restored(&mut self, user_agent: UserAgentId) {
        if let Some(trouble) = self.all.get_mut(&user_agent).filter(|trouble| !trouble.is_over) {
            trouble.is_over = true;
            self.restored += 1;
        }
    }

    /// User agents set aside now.
    pub(crate) fn now(&self) -> BTreeSet<UserAgentId> {
        let still = self.all.iter().filter(|(_, trouble)| !trouble.is_over);
        still.map(|(user_agent, _)| *user_agent).collect()
    }

    /// Number of restorations so far.
    pub(crate) const fn restorations(&self) -> u64 {
        self.restored
    }
}

/// Error for calls about a user agent set aside.
pub(crate) fn unreadable() -> StoreError {
    StoreError::new(ErrorKind::Corrupt, "the user agent is set aside until it is restored")
}
