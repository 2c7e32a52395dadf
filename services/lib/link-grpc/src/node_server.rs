//! The node's side of the delivery streams: hands messages and evictions of routers to sessions, and announces
//! sessions.
//! Invariant: a frame is read only when the answer can be sent, so a router that does not read is not read from.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use pushgrid_proto::stored;
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::node_server::{Node, NodeServer};
use pushgrid_proto::wire::node::v1::router_frame::Frame;
use pushgrid_runtime::Shutdown;
use pushgrid_store::{Eviction, Held, NodeLink, NotDelivered, Sessions};
use pushgrid_types::{Message, Partition, SessionId, SessionRef};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::form;
use crate::transport::{self, MESSAGE, ServeError};

mod streams;

pub use streams::RouterStreams;

/// Deadline for the first frame of a stream, which names the node that the router means.
const GREETING: Duration = Duration::from_secs(5);

/// Time for a router to close after the end of the streams, beyond the time of the sockets.
const FINISH: Duration = Duration::from_secs(1);

/// Most sessions announced in one frame.
const HELD: usize = 1000;

/// Smallest read buffer of a frame, in octets.
const READ_BUFFER: usize = 8 << 10;

/// Serves routers until `shutdown` drains; then the streams end. `streams` counts the standing ones.
///
/// Guarantee: a session with a full queue is evicted and reported as refused, so no message overtakes another.
pub async fn serve_node(
    listener: TcpListener,
    node: Arc<dyn NodeLink>,
    sessions: Arc<dyn Sessions>,
    streams: RouterStreams,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let service = Service { node, sessions, streams, shutdown: shutdown.clone() };
    let server = NodeServer::new(service).max_decoding_message_size(MESSAGE);
    let (incoming, draining) = (transport::incoming(listener), shutdown.clone());
    let serving = transport::server()
        .serve_with_incoming_shutdown(server, incoming, async move { draining.draining().await });
    transport::drive(serving, shutdown, FINISH).await
}

#[derive(Clone)]
struct Service {
    node: Arc<dyn NodeLink>,
    sessions: Arc<dyn Sessions>,
    streams: RouterStreams,
    shutdown: Shutdown,
}

/// One stream of a router.
struct Conversation {
    service: Service,
    incoming: Streaming<wire::RouterFrame>,
    /// Sessions not announced yet.
    held: VecDeque<Held>,
    _stands: streams::Stream,
}

#[tonic::async_trait]
impl Node for Service {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<wire::NodeFrame, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<wire::RouterFrame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let mut incoming = request.into_inner();
        let greeting = timeout(GREETING, incoming.message()).await;
        let router = match greeting.map_err(|_| Status::deadline_exceeded("no greeting"))?? {
            Some(wire::RouterFrame { frame: Some(Frame::Hello(hello)) }) => {
                if hello.node != self.sessions.id().0 {
                    return Err(Status::failed_precondition("another node listens here"));
                }
                hello.router
            }
            Some(_) | None => return Err(form::invalid("hello")),
        };
        let _stands = self.streams.begin(router);
        let conversation = Conversation { service: self.clone(), incoming, held: VecDeque::new(), _stands };
        // A frame is read only when its answer can be sent: back-pressure on a router that does not read.
        Ok(Response::new(Box::pin(try_unfold(conversation, Conversation::next))))
    }
}

impl Conversation {
    /// Next frame for the router, and the rest of the conversation; `None` when the stream ends.
    async fn next(mut self) -> Result<Option<(wire::NodeFrame, Self)>, Status> {
        loop {
            if !self.held.is_empty() {
                let held = self.held.drain(..self.held.len().min(HELD)).map(announced).collect();
                return Ok(Some((wire::NodeFrame { held, ..wire::NodeFrame::default() }, self)));
            }
            let frame = tokio::select! {
                biased;
                () = self.service.shutdown.draining() => return Ok(None),
                frame = self.incoming.message() => frame?,
            };
            let Some(wire::RouterFrame { frame }) = frame else { return Ok(None) };
            match frame.ok_or_else(|| form::invalid("frame"))? {
                Frame::Hello(_) => return Err(form::invalid("hello")),
                Frame::Announce(wanted) => self.held = self.service.held(&wanted).await?,
                Frame::Batch(batch) => return Ok(Some((self.service.take(batch)?, self))),
            }
        }
    }
}

impl Service {
    /// Sessions of the user agents in the wanted partitions.
    async fn held(&self, wanted: &wire::Announce) -> Result<VecDeque<Held>, Status> {
        let of = u16::try_from(wanted.of).ok().filter(|of| *of > 0).ok_or_else(|| form::invalid("of"))?;
        let partitions: BTreeSet<u32> = wanted.partitions.iter().copied().collect();
        let sessions = Arc::clone(&self.sessions);
        // A node may have hundreds of thousands of sessions: not on a thread that carries messages.
        let looking = tokio::task::spawn_blocking(move || {
            sessions.held(&|user_agent| partitions.contains(&u32::from(Partition::of(user_agent, of).0)))
        });
        Ok(looking.await.map_err(|_| Status::internal("sessions cannot be listed"))?.into())
    }

    /// Hands a batch to the sessions. Returns the acknowledgement, with the refusing sessions.
    fn take(&self, batch: wire::Batch) -> Result<wire::NodeFrame, Status> {
        let octets: usize = batch.deliveries.iter().map(body).sum();
        let mut refused: Vec<wire::Refused> = Vec::new();
        for delivery in batch.deliveries {
            let session = delivery.session;
            let message = delivery.message.ok_or_else(|| form::invalid("message"))?;
            let mut message = stored::from_wire(message).map_err(|_| form::invalid("message"))?;
            detach(&mut message, octets);
            let user_agent = message.to.user_agent;
            if !self.hand_over(SessionId(session), &Arc::new(message)) {
                let user_agent = form::of_user_agent(user_agent);
                refused.push(wire::Refused { user_agent, session });
            }
        }
        refused.dedup_by_key(|refused| refused.session);
        for eviction in batch.evictions {
            let why = match eviction.why() {
                wire::eviction::Why::Superseded => Eviction::Superseded,
                wire::eviction::Why::Resync => Eviction::Resync,
                wire::eviction::Why::Unspecified => return Err(form::invalid("why")),
            };
            self.node.evict(self.session(SessionId(eviction.session)), why);
        }
        Ok(wire::NodeFrame { taken: batch.number, refused, held: Vec::new() })
    }

    /// Delivers a message; `false` when the session refused.
    fn hand_over(&self, session: SessionId, message: &Arc<Message>) -> bool {
        let session = self.session(session);
        match self.node.deliver(session, message) {
            Ok(()) => true,
            Err(NotDelivered::NotHere) => false,
            Err(NotDelivered::Busy) => {
                // A later message might find room and overtake this one, so the session has to start over.
                self.node.evict(session, Eviction::Resync);
                false
            }
        }
    }

    fn session(&self, session: SessionId) -> SessionRef {
        SessionRef { node: self.sessions.id(), session }
    }
}

fn body(delivery: &wire::Delivery) -> usize {
    delivery.message.as_ref().map_or(0, |message| message.body.len())
}

/// Copies a small body out of its frame: the body shares the frame's buffer, and would keep the whole buffer in memory
/// until the user agent acknowledges. A body that is most of the frame stays.
fn detach(message: &mut Message, frame: usize) {
    let body = &mut message.content.body;
    if body.len() < READ_BUFFER || body.len() * 2 < frame {
        *body = Bytes::copy_from_slice(body);
    }
}

fn announced(held: Held) -> wire::Held {
    wire::Held {
        user_agent: form::of_user_agent(held.user_agent),
        epoch: held.claim.epoch.0,
        session: held.claim.session.session.0,
        min_urgency: form::of_min_urgency(held.min_urgency),
    }
}

#[cfg(test)]
mod tests;
