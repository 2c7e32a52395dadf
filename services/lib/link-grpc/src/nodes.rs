//! The way of a router to the connection nodes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_runtime::config::Reader;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Eviction, Member, NodeLink, NotDelivered, SessionEvents};
use pushgrid_types::{Message, NodeId, Partition, SessionRef};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::roster::Roster;

mod line;
mod outgoing;
mod queue;

use line::Line;

/// What an operator may choose of the way to the connection nodes.
#[derive(Debug, Clone)]
pub struct NodesConfig {
    /// How long a node may be out of reach, or may leave a frame unanswered, before its sessions are given up.
    pub node_timeout: Duration,
    /// How long making a connection may take.
    pub connect: Duration,
    /// Messages on their way to one node and not taken by it.
    pub queue_messages: usize,
    /// The same in octets.
    pub queue_octets: usize,
    /// Messages in one frame.
    pub frame_messages: usize,
    /// Octets after which a frame takes no further message.
    pub frame_octets: usize,
    /// Frames on their way to one node and not answered by it.
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
    /// Reads the settings of the section `grid` that are about deliveries to connection nodes.
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
                "How long a connection node may be out of a router's reach, or silent, before its sessions are given \
                 up.",
            ),
            connect: crate::transport::read_connect_timeout(reader),
            queue_messages: usize::try_from(queue_messages).unwrap_or(usize::MAX),
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

/// The connection nodes, as one [`NodeLink`]: one stream to each. Clones share the streams. [`Self::run`] has to run.
///
/// Guarantee: a message that was taken ([`NodeLink::deliver`]) is handed to its node, after those that were taken for
/// it before, or [`SessionEvents::refused`] or [`SessionEvents::gone`] is called for it. When the stream breaks, what
/// the node has not answered is sent again on the next one, so a session may see it twice.
///
/// Guarantee: what is told of a node to [`SessionEvents`] is told one after the other, in its order.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    config: NodesConfig,
    roster: Roster,
    meter: Meter,
    /// Those of the nodes that are being tended.
    lines: RwLock<HashMap<NodeId, Arc<Line>>>,
    /// What this router owns. Locked before any line is.
    owned: Mutex<BTreeSet<Partition>>,
}

impl Nodes {
    /// A way to the nodes of `roster`. This router has to be of it too: [`Roster::partitions`] has to be known by the
    /// time that there is a node.
    pub fn new(config: NodesConfig, roster: Roster, meter: &Meter) -> Self {
        let nodes = Self(Arc::new(Inner {
            config,
            roster,
            meter: meter.clone(),
            lines: RwLock::default(),
            owned: Mutex::default(),
        }));
        nodes.show_queue();
        nodes
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of things in memory are far below 2^52")]
    fn show_queue(&self) {
        let (queue, inner) = (self.0.meter.gauge(&metrics::LINK_QUEUE, &[]), Arc::downgrade(&self.0));
        self.0.meter.on_scrape(move || {
            let lines = inner.upgrade().map(|inner| inner.lines()).unwrap_or_default();
            queue.set(lines.iter().map(|line| line.queued()).sum::<usize>() as f64);
        });
    }

    /// Keeps a stream to each node, and tells `events` what nodes say, until `shutdown` drains. After that no node is
    /// there.
    pub async fn run(&self, events: Arc<dyn SessionEvents>, shutdown: Shutdown) {
        let mut changes = self.0.roster.changes();
        let mut tending = JoinSet::new();
        let mut leaving = HashMap::new();
        loop {
            let lineup = changes.borrow_and_update().clone();
            for node in lineup.connections() {
                leaving.entry(node.id).or_insert_with(|| {
                    let left = CancellationToken::new();
                    tending.spawn(tend(Arc::clone(&self.0), node.clone(), Arc::clone(&events), left.clone()));
                    left
                });
            }
            for (id, left) in &leaving {
                if !lineup.has(*id) {
                    left.cancel();
                }
            }
            tokio::select! {
                biased;
                () = shutdown.draining() => break,
                Some(ended) = tending.join_next() => match ended {
                    Ok(id) => drop(leaving.remove(&id)),
                    Err(error) => match error.try_into_panic() {
                        Ok(words) => panic::resume_unwind(words),
                        Err(cancelled) => tracing::error!(%cancelled, "nobody tends a node any more"),
                    },
                },
                // The sender lives in the roster, which this holds.
                _ = changes.changed() => {}
            }
        }
        tending.shutdown().await;
        let lines = std::mem::take(&mut *self.0.lines.write().unwrap_or_else(PoisonError::into_inner));
        for line in lines.values() {
            line.close();
        }
    }
}

impl Inner {
    fn line(&self, of: NodeId) -> Option<Arc<Line>> {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).get(&of).cloned()
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn owned(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tends one node for as long as it is a member. Answers its id.
async fn tend(
    nodes: Arc<Inner>,
    node: Member,
    events: Arc<dyn SessionEvents>,
    left: CancellationToken,
) -> NodeId {
    let id = node.id;
    let line = Arc::new(Line::new(node, nodes.config.clone(), &nodes.meter));
    nodes.lines.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&line));
    line::tend(&line, &nodes, events, left).await;
    nodes.lines.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    id
}

impl NodeLink for Nodes {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        self.0.line(to.node).ok_or(NotDelivered::NotHere)?.deliver(to.session, message)
    }

    fn evict(&self, session: SessionRef, why: Eviction) {
        if let Some(line) = self.0.line(session.node) {
            line.evict(session.session, why);
        }
    }

    fn gained(&self, partition: Partition) {
        let mut owned = self.0.owned();
        owned.insert(partition);
        for line in self.0.lines() {
            line.announce(partition);
        }
    }

    fn lost(&self, partition: Partition) {
        let mut owned = self.0.owned();
        owned.remove(&partition);
        for line in self.0.lines() {
            line.announce_no_more(partition);
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("roster", &self.0.roster).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
