use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pushgrid_session::Limits;
use pushgrid_store::{Claim, Eviction, Held, NodeLink, NotDelivered, Sessions};
use pushgrid_types::{Message, NodeId, Rng, SessionId, SessionRef, UserAgentId};

use crate::outbox::{Ending, Outbox};

/// Parts that the register of sessions is split into, so that threads seldom meet at a lock.
const SHARDS: usize = 16;

/// This process as a connection node: its name, and its open sessions by their ids. Clones share both.
///
/// As a [`NodeLink`] it is the router's way to the user agents. It exists before [`crate::run`] does, for the router
/// is built with it and [`crate::run`] with the router.
///
/// Guarantee: a [`SessionId`] is never given out twice.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    id: NodeId,
    queue: Limits,
    last_session: AtomicU64,
    sessions: AtomicUsize,
    closing: AtomicBool,
    shards: [Mutex<HashMap<SessionId, Arc<Outbox>>>; SHARDS],
}

/// The place of one connection in the node; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    node: Node,
    session: SessionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl Node {
    /// A node without sessions, and unlike any other node. `queue` bounds what each session may be owed.
    pub fn new(rng: &dyn Rng, queue: Limits) -> Self {
        Self(Arc::new(Inner {
            id: NodeId::random(rng),
            queue,
            last_session: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            shards: std::array::from_fn(|_| Mutex::default()),
        }))
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Connections at the moment.
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// A seat for one more connection; `None` when the node closes.
    pub(crate) fn enter(&self) -> Option<Seat> {
        let session = SessionId(self.0.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let outbox = Arc::new(Outbox::new(self.0.queue));
        let mut shard = self.shard(session);
        // Under the lock, so that `close_doors` sees whoever came in before.
        if self.0.closing.load(Ordering::Relaxed) {
            return None;
        }
        shard.insert(session, Arc::clone(&outbox));
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Some(Seat { node: self.clone(), session, outbox })
    }

    /// Lets nobody in any more, and answers who is there.
    pub(crate) fn close_doors(&self) -> Vec<Arc<Outbox>> {
        self.0.closing.store(true, Ordering::Relaxed);
        let shards = self.0.shards.iter().map(lock);
        shards.flat_map(|shard| shard.values().cloned().collect::<Vec<_>>()).collect()
    }

    fn outbox(&self, of: SessionRef) -> Option<Arc<Outbox>> {
        if of.node != self.0.id {
            return None;
        }
        self.shard(of.session).get(&of.session).cloned()
    }

    fn shard(&self, session: SessionId) -> MutexGuard<'_, HashMap<SessionId, Arc<Outbox>>> {
        let shards = u64::try_from(SHARDS).expect("a handful");
        let index = usize::try_from(session.0 % shards).expect("less than the shards");
        lock(&self.0.shards[index])
    }
}

impl NodeLink for Node {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        self.outbox(to).ok_or(NotDelivered::NotHere)?.offer(message)
    }

    fn evict(&self, session: SessionRef, why: Eviction) {
        if let Some(outbox) = self.outbox(session) {
            outbox.end(match why {
                Eviction::Superseded => Ending::Superseded,
                Eviction::Resync => Ending::Resync,
            });
        }
    }
}

impl Sessions for Node {
    fn id(&self) -> NodeId {
        self.0.id
    }

    fn held(&self, chosen: &dyn Fn(UserAgentId) -> bool) -> Vec<Held> {
        let mut held = Vec::new();
        for shard in &self.0.shards {
            let shard = lock(shard);
            let open = shard.iter().filter_map(|(session, outbox)| Some((*session, outbox.holder()?)));
            held.extend(open.filter(|(_, (user_agent, _))| chosen(*user_agent)).map(
                |(session, (user_agent, epoch))| Held {
                    user_agent,
                    claim: Claim { epoch, session: SessionRef { node: self.0.id, session } },
                },
            ));
        }
        held
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.0.id)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

impl Seat {
    /// The name of this connection among all nodes.
    pub(crate) fn session(&self) -> SessionRef {
        SessionRef { node: self.node.id(), session: self.session }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.outbox.close();
        self.node.shard(self.session).remove(&self.session);
        self.node.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// No code panics while it holds the lock, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
