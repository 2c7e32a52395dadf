//! One stream to a node, from connecting to its end.
//! Invariant: a node is overdue only by its own fault: time in which the router did not read is not counted. The
//! decision to reconnect or give up is the module `reconnect`.

use std::sync::Arc;

use ::metrics::Gauge;
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::node_client::NodeClient;
use pushgrid_store::{Claim, Held};
use pushgrid_types::{Epoch, SessionId, SessionRef};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::{Code, Streaming};

use super::Inner;
use super::connection::{NodeConnection, NodeEvent, tell, wake};
use super::outgoing::Outgoing;
use super::queue::NotSent;
use crate::form;
use crate::transport::{self, MESSAGE};

/// Checks for a silent node in each node time-out.
const LOOKS: u32 = 8;

/// Reason for the end of a stream, or for its failure to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Broken, or never connected.
    Broken,
    /// The node left a frame unanswered.
    Silent,
    /// Another node listens there.
    Stranger,
    /// More queued evictions than there can be sessions.
    Overflow,
}

/// Runs one stream from connecting to its end. Sets `stood` once the stream stands.
pub(super) async fn stream(
    connection: &Arc<NodeConnection>,
    nodes: &Inner,
    told: &mpsc::Sender<NodeEvent>,
    give_up_at: Option<Instant>,
    stood: &mut bool,
) -> End {
    let patience = give_up_at.map_or(connection.config.connect, |at| {
        connection.config.connect.min(at.saturating_duration_since(Instant::now()))
    });
    let mut incoming = match timeout(patience, connect(connection, nodes)).await {
        Ok(Ok(incoming)) => incoming,
        Ok(Err(end)) => return end,
        Err(_elapsed) => return End::Broken,
    };
    *stood = true;
    connection.queue().open();
    let _counted = Counted::new(connection.streams.clone());
    let end = read(connection, &mut incoming, told).await;
    tracing::debug!(node = connection.address(), ?end, "a stream to a connection node has ended");
    end
}

/// Gauge of standing streams; decremented on drop.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Connects, greets, and waits for the node's answer.
async fn connect(connection: &Arc<NodeConnection>, nodes: &Inner) -> Result<Streaming<wire::NodeFrame>, End> {
    let endpoint = transport::endpoint(connection.address(), connection.config.connect).ok_or(End::Broken)?;
    let partitions = nodes.membership_view.partitions().ok_or(End::Broken)?;
    let channel = endpoint.connect().await.map_err(|_| End::Broken)?;
    let (stream, earlier) = {
        // Both locks at once: a partition gained meanwhile is either in `owned` or announced on this stream.
        let owned = nodes.owned();
        connection.queue().begin(owned.clone())
    };
    wake(earlier);
    let (router, frames) = (nodes.me, connection.frames.clone());
    let outgoing = Outgoing { connection: Arc::clone(connection), stream, router, partitions, frames };
    let mut client = NodeClient::new(channel).max_decoding_message_size(MESSAGE);
    Ok(client.deliver(outgoing).await.map_err(|status| end_of(status.code()))?.into_inner())
}

const fn end_of(code: Code) -> End {
    if matches!(code, Code::FailedPrecondition) { End::Stranger } else { End::Broken }
}

/// Reads the node's frames until the stream ends.
async fn read(
    connection: &NodeConnection,
    incoming: &mut Streaming<wire::NodeFrame>,
    told: &mpsc::Sender<NodeEvent>,
) -> End {
    let mut looks = interval(connection.config.node_timeout / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            frame = incoming.message() => match frame {
                Ok(Some(frame)) => if let Err(end) = hear(connection, frame, told).await {
                    return end;
                },
                Ok(None) => return End::Broken,
                Err(status) => return end_of(status.code()),
            },
            _ = looks.tick() => {
                let queue = connection.queue();
                if queue.is_overflown() {
                    return End::Overflow;
                }
                if queue.is_overdue(&connection.config, Instant::now()) {
                    return End::Silent;
                }
            }
        }
    }
}

async fn hear(
    connection: &NodeConnection,
    frame: wire::NodeFrame,
    told: &mpsc::Sender<NodeEvent>,
) -> Result<(), End> {
    let node = connection.id();
    let session = |session| SessionRef { node, session: SessionId(session) };
    if !frame.refused.is_empty() {
        let refused = frame
            .refused
            .iter()
            .map(|refused| Ok((form::user_agent(&refused.user_agent)?, session(refused.session))));
        let refused: Result<Vec<_>, tonic::Status> = refused.collect();
        tell_in_time(connection, told, NodeEvent::Refused(refused.map_err(|_| End::Broken)?)).await;
    }
    if !frame.held.is_empty() {
        let held = frame.held.iter().map(|held| {
            let claim = Claim { epoch: Epoch(held.epoch), session: session(held.session) };
            let min_urgency = form::min_urgency(held.min_urgency());
            Ok(Held { user_agent: form::user_agent(&held.user_agent)?, claim, min_urgency })
        });
        let held: Result<Vec<_>, tonic::Status> = held.collect();
        tell_in_time(connection, told, NodeEvent::Announced(held.map_err(|_| End::Broken)?)).await;
    }
    if frame.taken != 0 {
        // Acknowledgement of a frame not sent on this stream: a broken or foreign node.
        connection.taken(frame.taken).map_err(|NotSent| End::Broken)?;
    }
    Ok(())
}

/// Passes an event to the router. Time in which the router does not take it is not counted against the node.
async fn tell_in_time(connection: &NodeConnection, told: &mpsc::Sender<NodeEvent>, what: NodeEvent) {
    let waits = told.capacity() == 0;
    tell(told, what).await;
    if waits {
        connection.queue().excuse(Instant::now());
    }
}
