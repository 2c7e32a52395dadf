//! Connection of one node: its queue, shared by the callers that deliver and by its stream. Reconnecting is the module
//! `reconnect`.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use ::metrics::{Counter, Gauge};
use parking_lot::{Mutex, MutexGuard};
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Eviction, Held, NotDelivered};
use pushgrid_types::{Message, NodeId, Partition, SessionId, SessionRef, UserAgentId};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::NodesConfig;
use super::queue::{Next, NotSent, Queue};

/// Connection of one node, shared with the callers that deliver.
pub(super) struct NodeConnection {
    id: NodeId,
    /// Set once the node is a member.
    pub(super) address: OnceLock<String>,
    pub(super) met_at: Instant,
    /// Notified when a node given up is expected again.
    pub(super) expected: Notify,
    pub(super) config: NodesConfig,
    queue: Mutex<Queue>,
    meter: Meter,
    pub(super) streams: Gauge,
    pub(super) frames: Counter,
}

/// Event for the router.
pub(super) enum NodeEvent {
    Refused(Vec<(UserAgentId, SessionRef)>),
    Announced(Vec<Held>),
    Gone,
}

impl NodeConnection {
    /// Makes a connection that takes messages at once: only nodes that can be expected get one.
    pub(super) fn new(id: NodeId, config: NodesConfig, meter: &Meter) -> Self {
        let (streams, frames) = (meter.gauge(&metrics::STREAMS, &[]), meter.counter(&metrics::FRAMES, &[]));
        let mut queue = Queue::default();
        queue.open();
        Self {
            id,
            address: OnceLock::new(),
            met_at: Instant::now(),
            expected: Notify::new(),
            config,
            queue: Mutex::new(queue),
            meter: meter.clone(),
            streams,
            frames,
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    /// True once the node has been a member.
    pub(super) fn has_joined(&self) -> bool {
        self.address.get().is_some()
    }

    pub(super) fn address(&self) -> &str {
        self.address.get().map_or("(not a member yet)", String::as_str)
    }

    /// Notes that the node is alive: after a give-up, a connection is tried at once, and messages are taken meanwhile.
    /// `false` when this connection has ended.
    pub(super) fn expect(&self) -> bool {
        let (opened, ended) = {
            let mut queue = self.queue();
            (queue.open(), queue.has_ended())
        };
        if opened {
            self.expected.notify_one();
        }
        !ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.queue().has_ended()
    }

    pub(super) fn deliver(&self, to: SessionId, message: &Arc<Message>) -> Result<(), NotDelivered> {
        // A statement of its own, so that the lock is free before the writer is woken.
        let writer = self.queue().deliver(to, message, &self.config)?;
        wake(writer);
        Ok(())
    }

    pub(super) fn evict(&self, session: SessionId, why: Eviction) {
        let writer = self.queue().evict(session, why);
        wake(writer);
    }

    pub(super) fn announce(&self, partition: Partition) {
        let writer = self.queue().announce(partition);
        wake(writer);
    }

    pub(super) fn announce_no_more(&self, partition: Partition) {
        self.queue().announce_no_more(partition);
    }

    /// Messages queued or in flight.
    pub(super) fn queued(&self) -> usize {
        self.queue().len()
    }

    /// Refuses deliveries until the node is expected again.
    pub(super) fn close(&self) {
        let writer = self.queue().close();
        wake(writer);
    }

    /// Closes the queue for good.
    pub(super) fn end(&self) {
        let writer = self.queue().end();
        wake(writer);
    }

    pub(super) fn next(&self, stream: u64, writer: &Waker) -> Next {
        self.queue().next(stream, &self.config, Instant::now(), writer)
    }

    pub(super) fn taken(&self, number: u64) -> Result<(), NotSent> {
        let writer = self.queue().taken(number, Instant::now())?;
        wake(writer);
        Ok(())
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Reports the node as gone, after the queue was closed.
    pub(super) async fn give_up(&self, reason: &'static str, told: &mpsc::Sender<NodeEvent>) {
        self.meter.counter(&metrics::NODES_GIVEN_UP, &[("reason", reason)]).increment(1);
        tracing::info!(node = self.address(), reason, "the sessions of a connection node are given up");
        tell(told, NodeEvent::Gone).await;
    }
}

pub(super) fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}

/// Passes an event on, in its turn.
pub(super) async fn tell(told: &mpsc::Sender<NodeEvent>, what: NodeEvent) {
    // Somebody receives as long as a sender exists.
    let _ = told.send(what).await;
}
