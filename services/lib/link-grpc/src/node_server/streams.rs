//! Count of the streams by which routers reach this node, for readiness: a node should not take user agents that some
//! router cannot deliver to. The frames of a stream are the parent module.
//! Invariant: a stream counts until dropped, however it ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::membership::{MemberList, MembershipView};

/// Standing streams of routers to this node, by which routers reach its user agents. Clones share the state.
#[derive(Clone)]
pub struct RouterStreams(Arc<watch::Sender<Standing>>);

/// Standing streams of each router.
#[derive(Debug, Default)]
struct Standing {
    by_router: HashMap<NodeId, usize>,
    /// Streams of routers that do not name themselves.
    unnamed: usize,
}

/// Standing stream; counts until dropped.
pub(super) struct Stream {
    streams: RouterStreams,
    router: Option<NodeId>,
}

impl RouterStreams {
    /// Makes a set without streams.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    pub(super) fn begin(&self, router: u64) -> Stream {
        let router = (router != 0).then_some(NodeId(router));
        self.0.send_modify(|standing| *standing.of(router) += 1);
        Stream { streams: self.clone(), router }
    }

    /// Waits until the membership view shows this node (`me`), and each router of the view has a stream here. A router
    /// without a stream is waited for no longer than `lease`: such a router is dead, or cannot reach this node. Returns
    /// the addresses of those routers. Reports the reason of the wait to `waiting`.
    pub async fn of_all(
        &self,
        membership_view: &MembershipView,
        me: NodeId,
        lease: Duration,
        waiting: impl Fn(String),
    ) -> Vec<String> {
        let (mut changes, mut streams) = (membership_view.changes(), self.0.subscribe());
        let mut deadline: Option<Instant> = None;
        loop {
            let member_list = changes.borrow_and_update().clone();
            let missing = streams.borrow_and_update().missing(&member_list);
            if member_list.has(me) {
                let now = Instant::now();
                if missing.is_empty() || now >= *deadline.get_or_insert(now + lease) {
                    return missing;
                }
                waiting(format!("waiting for the streams of {} routers", missing.len()));
            } else {
                waiting("waiting for its place among the members".to_owned());
            }
            // The senders live in the membership view and here.
            tokio::select! {
                _ = changes.changed() => {}
                _ = streams.changed() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
        }
    }
}

impl Default for RouterStreams {
    fn default() -> Self {
        Self::new()
    }
}

impl Standing {
    fn of(&mut self, router: Option<NodeId>) -> &mut usize {
        router.map_or(&mut self.unnamed, |router| self.by_router.entry(router).or_default())
    }

    /// Addresses of the routers without a stream; unnamed streams are credited to any of them.
    fn missing(&self, member_list: &MemberList) -> Vec<String> {
        let without = member_list.routers().filter(|router| !self.by_router.contains_key(&router.id));
        without.skip(self.unnamed).map(|router| router.address.clone()).collect()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.0.send_modify(|standing| {
            let count = standing.of(self.router);
            *count -= 1;
            if *count == 0
                && let Some(router) = self.router
            {
                standing.by_router.remove(&router);
            }
        });
    }
}

impl fmt::Debug for RouterStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouterStreams").field(&*self.0.borrow()).finish()
    }
}

#[cfg(test)]
mod tests;
