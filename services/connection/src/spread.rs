//! The spread of changed broadcasts: every connection that asks for one gets it after a share of a time, for what user
//! agents do upon a broadcast is to ask another server.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_store::BroadcastVersions;
use pushgrid_types::cast::saturating;
use pushgrid_types::{BroadcastId, Rng, SessionId};
use tokio::time::{Instant, sleep};

use crate::jitter::share;
use crate::shared::Shared;

#[cfg(test)]
mod tests;

/// Interval at which some of the connections are marked.
const STEP: Duration = Duration::from_millis(100);

/// Longest share of one connection: a node with few of them need not wait for the whole time.
const EACH: Duration = Duration::from_millis(10);

/// One change on its way.
#[derive(Debug)]
struct Round {
    /// Connections that have not been marked, in their turn.
    left: VecDeque<SessionId>,
    /// Connections at the beginning.
    count: usize,
    begun: Instant,
    over: Duration,
}

/// Marks the connections that ask for a broadcast, whenever one changes, until `shutdown` drains.
pub(crate) async fn changes(shared: &Shared, shutdown: &Shutdown) {
    let Some(mut versions) = shared.broadcasts.watch() else { return };
    let mut known = versions.borrow_and_update().clone();
    let mut rounds = BTreeMap::new();
    loop {
        let changed = tokio::select! {
            changed = versions.changed() => changed.is_ok(),
            () = sleep(STEP), if !rounds.is_empty() => false,
            () = shutdown.draining() => return,
        };
        if changed {
            let newest = versions.borrow_and_update().clone();
            for id in changed_ids(known.as_ref(), newest.as_ref()) {
                let earlier = rounds.remove(&id);
                rounds.insert(id.clone(), Round::begin(shared, &id, earlier));
            }
            known = newest;
        } else if versions.has_changed().is_err() {
            // The store is closed, and this process ends.
            shutdown.draining().await;
            return;
        }
        rounds.retain(|id, round| {
            round.go_on(shared, id);
            !round.left.is_empty()
        });
    }
}

/// Ids with another version than before. When versions are known for the first time, all are new to whoever asked.
fn changed_ids(
    before: Option<&Arc<BroadcastVersions>>,
    now: Option<&Arc<BroadcastVersions>>,
) -> Vec<BroadcastId> {
    let before = before.map(|versions| (**versions).clone()).unwrap_or_default();
    now.map(|now| now.changed_since(&before)).unwrap_or_default()
}

impl Round {
    /// Begins anew for all connections. Those that have not heard of an earlier change have the first turns, so that a
    /// broadcast that changes all the time reaches everybody.
    fn begin(shared: &Shared, id: &BroadcastId, earlier: Option<Self>) -> Self {
        let mut left = earlier.map(|earlier| earlier.left).unwrap_or_default();
        let first: HashSet<SessionId> = left.iter().copied().collect();
        left.extend(shared.node.asking(id).into_iter().filter(|session| !first.contains(session)));
        let count = left.len();
        let over = shared.config.broadcast_spread.min(EACH.saturating_mul(saturating::<u32>(count)));
        Self { left, count, begun: Instant::now(), over }
    }

    /// Marks all whose turn has come.
    fn go_on(&mut self, shared: &Shared, id: &BroadcastId) {
        let passed = self.begun.elapsed();
        while let Some(session) = self.left.front().copied() {
            if self.turn(&*shared.rng) > passed {
                return;
            }
            self.left.pop_front();
            shared.node.mark_broadcast(session, id);
        }
    }

    /// The turn of the next connection.
    fn turn(&self, rng: &dyn Rng) -> Duration {
        share(self.over, self.count - self.left.len(), self.count, rng)
    }
}
