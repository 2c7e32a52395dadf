//! Delivery from a router to the connection nodes: one stream to each, with a bounded queue. Frames and retries are in
//! `queue`, reconnection is in `reconnect`.
//! Invariant: the set of owned partitions is locked before any connection is.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::config::Reader;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Eviction, NodeLink, NotDelivered, OwnershipLink, SessionEvents};
use pushgrid_types::cast::saturating;
use pushgrid_types::{Message, NodeId, Partition, SessionRef};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::membership::MembershipView;

mod connection;
mod connections;
mod outgoing;
mod queue;
mod reconnect;
mod stream;

use connection::NodeConnection;
use connections::NodeConnections;

/// Settings and bounds of delivery to connection nodes.
#[derive(Debug, Clone)]
pub struct NodesConfig {
    /// Time for which a node may be out of reach, missing from the member list, or leave a frame unanswered, before its
    /// sessions are given up.
    pub node_timeout: Duration,
    /// Deadline for connecting.
    pub connect: Duration,
    /// Most messages in flight to one node or queued for it.
    pub queue_messages: usize,
    /// Most octets in flight to one node or queued for it.
    pub queue_octets: usize,
    /// Most messages in one frame.
    pub frame_messages: usize,
    /// Octets of a frame after which no further message is added.
    pub frame_octets: usize,
    /// Most unanswered frames to one node.
    pub in_flight: usize,
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self {
            node_timeout: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            queue_messages: 16_384,
            queue_octets: 64 << 20,
            frame_messages: 256,
            frame_octets: 256 << 10,
            in_flight: 8,
        }
    }
}

impl NodesConfig {
    /// Reads the settings of the section `grid` for deliveries to connection nodes.
    pub fn read(reader: &mut Reader) -> Self {
        let queue_messages = reader.count(
            "grid.node_queue_messages",
            16_384,
            256..=1_000_000,
            "Messages on their way from a router to one connection node; more wait in the mailboxes.",
        );
        Self {
            node_timeout: reader.duration(
                "grid.node_timeout",
                "5s",
                Duration::from_millis(100)..=Duration::from_mins(1),
                "Longest time that a connection node may be out of a router's reach, or silent, before its \
                 sessions are given up.",
            ),
            connect: crate::transport::read_connect_timeout(reader),
            queue_messages: saturating::<usize>(queue_messages),
            queue_octets: reader.octets(
                "grid.node_queue_octets",
                "64MiB",
                1 << 20..=1 << 34,
                "Octets on their way from a router to one connection node; more wait in the mailboxes.",
            ),
            ..Self::default()
        }
    }
}

/// [`NodeLink`] over one stream to each connection node. Clones share the streams. [`Self::run`] has to run.
///
/// Guarantee: a message taken by [`NodeLink::deliver`] is handed to its node in the order of delivery, or
/// [`SessionEvents::refused`] or [`SessionEvents::gone`] is called. When the stream breaks, unanswered frames are sent
/// again on the next one, so a session may get a message twice.
///
/// Guarantee: a node out of reach is waited for, and its messages are queued within bounds: a node that has just
/// joined, or that the member list does not show yet though one of its user agents has connected. After
/// [`NodesConfig::node_timeout`], or the end of its lease, the node is *gone*, and only then [`NotDelivered::NotHere`].
///
/// Guarantee: events of one node reach [`SessionEvents`] one after the other, in order.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    /// Id of this router.
    me: NodeId,
    config: NodesConfig,
    membership_view: MembershipView,
    meter: Meter,
    connections: RwLock<NodeConnections>,
    /// Notified when a connection without a running task was added.
    met: Notify,
    /// Partitions of this router. Locked before any connection is.
    owned: Mutex<BTreeSet<Partition>>,
}

impl Nodes {
    /// Makes the link of router `me` to the nodes of `membership_view`. The view has to show `me` too:
    /// [`MembershipView::partitions`] must be known by the time that there is a node.
    pub fn new(config: NodesConfig, me: NodeId, membership_view: MembershipView, meter: &Meter) -> Self {
        let nodes = Self(Arc::new(Inner {
            me,
            config,
            membership_view,
            meter: meter.clone(),
            connections: RwLock::default(),
            met: Notify::new(),
            owned: Mutex::default(),
        }));
        nodes.show_queue();
        nodes
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of things in memory are far below 2^52")]
    fn show_queue(&self) {
        let (queue, inner) = (self.0.meter.gauge(&metrics::LINK_QUEUE, &[]), Arc::downgrade(&self.0));
        self.0.meter.on_scrape(move || {
            let connections = inner.upgrade().map(|inner| inner.connections()).unwrap_or_default();
            queue.set(connections.iter().map(|connection| connection.queued()).sum::<usize>() as f64);
        });
    }

    /// Keeps a stream to each node, and reports to `events`, until `shutdown` drains. After that every node is gone.
    pub async fn run(&self, events: Arc<dyn SessionEvents>, shutdown: Shutdown) {
        let mut changes = self.0.membership_view.changes();
        let mut tasks = JoinSet::new();
        let mut running = HashSet::new();
        loop {
            let member_list = changes.borrow_and_update().clone();
            self.0.connections_mut(|connections| {
                connections.add_members(&member_list, |id| self.0.new_connection(id));
            });
            for connection in self.0.connections() {
                if !connection.has_ended() && running.insert(connection.id()) {
                    tasks.spawn(run(Arc::clone(&self.0), connection, Arc::clone(&events)));
                }
            }
            tokio::select! {
                biased;
                () = shutdown.draining() => break,
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => drop(running.remove(&id)),
                    Err(error) => match error.try_into_panic() {
                        Ok(words) => panic::resume_unwind(words),
                        Err(cancelled) => tracing::error!(%cancelled, "the tasks for the connection nodes have ended"),
                    },
                },
                // The sender lives in the membership view, which this holds.
                _ = changes.changed() => {}
                () = self.0.met.notified() => {}
            }
        }
        tasks.shutdown().await;
        for connection in self.0.connections_mut(NodeConnections::end) {
            connection.end();
        }
    }
}

impl Inner {
    fn connection(&self, of: NodeId) -> Option<Arc<NodeConnection>> {
        self.connections.read().get(of).cloned()
    }

    fn connections(&self) -> Vec<Arc<NodeConnection>> {
        self.connections.read().all().cloned().collect()
    }

    fn connections_mut<T>(&self, change: impl FnOnce(&mut NodeConnections) -> T) -> T {
        change(&mut self.connections.write())
    }

    fn new_connection(&self, id: NodeId) -> Arc<NodeConnection> {
        Arc::new(NodeConnection::new(id, self.config.clone(), &self.meter))
    }

    /// Connection to a node that had none, as [`NodeConnections::meet`].
    fn meet(&self, id: NodeId, alive: bool) -> Option<Arc<NodeConnection>> {
        let connection =
            self.connections_mut(|connections| connections.meet(id, alive, |id| self.new_connection(id)))?;
        self.met.notify_one();
        Some(connection)
    }

    fn owned(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.owned.lock()
    }
}

/// Runs the connection of one node until the node has left, or has not joined in time. Returns the node's id.
async fn run(nodes: Arc<Inner>, connection: Arc<NodeConnection>, events: Arc<dyn SessionEvents>) -> NodeId {
    reconnect::run(&connection, &nodes, events).await;
    nodes.connections_mut(|connections| connections.remove(&connection));
    connection.id()
}

impl NodeLink for Nodes {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        let connection = self.0.connection(to.node).or_else(|| self.0.meet(to.node, false));
        connection.ok_or(NotDelivered::NotHere)?.deliver(to.session, message)
    }

    /// Does not close a session of an unknown node now: once the node connects and announces its sessions, this one is
    /// evicted.
    fn evict(&self, session: SessionRef, why: Eviction) {
        if let Some(connection) = self.0.connection(session.node) {
            connection.evict(session.session, why);
        }
    }
}

impl OwnershipLink for Nodes {
    fn heard_from(&self, node: NodeId) {
        let expected = self.0.connection(node).is_some_and(|connection| connection.expect());
        if !expected {
            self.0.meet(node, true);
        }
    }

    fn gained(&self, partition: Partition) {
        let mut owned = self.0.owned();
        owned.insert(partition);
        for connection in self.0.connections() {
            connection.announce(partition);
        }
    }

    fn lost(&self, partition: Partition) {
        let mut owned = self.0.owned();
        owned.remove(&partition);
        for connection in self.0.connections() {
            connection.announce_no_more(partition);
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("members", &self.0.membership_view).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
