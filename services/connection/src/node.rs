//! The node: all connections of this process, as found by the router.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use pushgrid_runtime::spans;
use pushgrid_session::Limits;
use pushgrid_store::{Claim, Eviction, Held, NodeLink, NotDelivered, Sessions};
use pushgrid_types::cast::fitting;
use pushgrid_types::{BroadcastId, Message, NodeId, Rng, SessionId, SessionRef, UserAgentId};

use crate::send_queue::{Ending, SendQueue};

/// Parts of the register of sessions; many, so threads seldom meet at a lock.
const SHARDS: usize = 16;

/// This process as a connection node: a name, and the open sessions by their ids. Clones share both.
///
/// As a [`NodeLink`], the router's way to the user agents. Made before [`crate::Connections`], because the
/// router is built with the node and [`crate::Connections`] with the router.
///
/// Guarantee: a [`SessionId`] is never given out twice.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    id: NodeId,
    limits: Limits,
    last_session: AtomicU64,
    sessions: AtomicUsize,
    closing: AtomicBool,
    shards: [Mutex<HashMap<SessionId, Arc<SendQueue>>>; SHARDS],
}

/// The place of one connection in the node; given up on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    node: Node,
    session: SessionId,
    pub(crate) queue: Arc<SendQueue>,
}

impl Node {
    /// A node without sessions, and unlike any other node. `queue` bounds the messages owed to each session.
    pub fn new(rng: &dyn Rng, queue: Limits) -> Self {
        Self(Arc::new(Inner {
            id: NodeId::random(rng),
            limits: queue,
            last_session: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            shards: std::array::from_fn(|_| Mutex::default()),
        }))
    }

    /// Name of the node.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Connections at the moment.
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// A slot for one more connection; `None` when the node closes.
    pub(crate) fn enter(&self) -> Option<Slot> {
        let session = SessionId(self.0.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(SendQueue::new(self.0.limits));
        let mut shard = self.shard(session);
        // Under the lock, so that `close_doors` sees whoever came in before.
        if self.0.closing.load(Ordering::Relaxed) {
            return None;
        }
        shard.insert(session, Arc::clone(&queue));
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Some(Slot { node: self.clone(), session, queue })
    }

    /// Lets nobody in any more, and answers the connections present.
    pub(crate) fn close_doors(&self) -> Vec<Arc<SendQueue>> {
        self.0.closing.store(true, Ordering::Relaxed);
        let shards = self.0.shards.iter().map(Mutex::lock);
        shards.flat_map(|shard| shard.values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Connections that ask for a broadcast.
    pub(crate) fn asking(&self, id: &BroadcastId) -> Vec<SessionId> {
        let mut asking = Vec::new();
        for shard in &self.0.shards {
            let shard = shard.lock();
            asking.extend(shard.iter().filter(|(_, queue)| queue.is_asked(id)).map(|(session, _)| *session));
        }
        asking
    }

    /// Marks a broadcast as due at a connection, if it is still there and asks for it.
    pub(crate) fn mark_broadcast(&self, session: SessionId, id: &BroadcastId) {
        let queue = self.shard(session).get(&session).cloned();
        if let Some(queue) = queue {
            queue.mark_broadcast(id);
        }
    }

    fn queue(&self, of: SessionRef) -> Option<Arc<SendQueue>> {
        if of.node != self.0.id {
            return None;
        }
        self.shard(of.session).get(&of.session).cloned()
    }

    fn shard(&self, session: SessionId) -> MutexGuard<'_, HashMap<SessionId, Arc<SendQueue>>> {
        let shards = fitting::<u64>(SHARDS);
        let index = fitting::<usize>(session.0 % shards);
        self.0.shards[index].lock()
    }
}

impl NodeLink for Node {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        let span = spans::deliver(message);
        let taken = self.queue(to).ok_or(NotDelivered::NotHere).and_then(|queue| queue.offer(message));
        if !span.is_disabled() {
            span.in_scope(|| tracing::debug!(target: spans::MESSAGES, ?taken, "handed to a session"));
        }
        taken
    }

    fn evict(&self, session: SessionRef, why: Eviction) {
        if let Some(queue) = self.queue(session) {
            queue.end(match why {
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
            let shard = shard.lock();
            let open = shard.iter().filter_map(|(session, queue)| Some((*session, queue.announce(chosen)?)));
            held.extend(open.map(|(session, (user_agent, epoch, min_urgency))| Held {
                user_agent,
                claim: Claim { epoch, session: SessionRef { node: self.0.id, session } },
                min_urgency,
            }));
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

impl Slot {
    /// The name of this connection among all nodes.
    pub(crate) fn session(&self) -> SessionRef {
        SessionRef { node: self.node.id(), session: self.session }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.close();
        self.node.shard(self.session).remove(&self.session);
        self.node.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
