//! The node's side: what routers send, handed to the sessions.

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

/// How long a router may take to say whom it means.
const GREETING: Duration = Duration::from_secs(5);

/// Sessions of one frame.
const HELD: usize = 1000;

/// What a frame is read into at least, in octets.
const READ_BUFFER: usize = 8 << 10;

/// Serves routers until `shutdown` drains; then their streams end.
///
/// Guarantee: a session whose queue is full is evicted and reported as refused, so that no message overtakes another.
pub async fn serve_node(
    listener: TcpListener,
    node: Arc<dyn NodeLink>,
    sessions: Arc<dyn Sessions>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let service = Service { node, sessions, shutdown: shutdown.clone() };
    let server = NodeServer::new(service).max_decoding_message_size(MESSAGE);
    let (incoming, draining) = (transport::incoming(listener), shutdown.clone());
    let serving = transport::server()
        .serve_with_incoming_shutdown(server, incoming, async move { draining.draining().await });
    transport::drive(serving, shutdown).await
}

#[derive(Clone)]
struct Service {
    node: Arc<dyn NodeLink>,
    sessions: Arc<dyn Sessions>,
    shutdown: Shutdown,
}

/// One stream of a router.
struct Conversation {
    service: Service,
    incoming: Streaming<wire::RouterFrame>,
    /// Sessions that are still to be announced.
    held: VecDeque<Held>,
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
        match greeting.map_err(|_| Status::deadline_exceeded("no greeting"))?? {
            Some(wire::RouterFrame { frame: Some(Frame::Hello(hello)) }) => {
                if hello.node != self.sessions.id().0 {
                    return Err(Status::failed_precondition("another node listens here"));
                }
            }
            Some(_) | None => return Err(form::invalid("hello")),
        }
        let conversation = Conversation { service: self.clone(), incoming, held: VecDeque::new() };
        // A frame is read only when its answer can be sent: a router that does not listen is not listened to.
        Ok(Response::new(Box::pin(try_unfold(conversation, Conversation::next))))
    }
}

impl Conversation {
    /// The next answer, and the rest of the conversation.
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
    /// The sessions of the partitions that a router asks for.
    async fn held(&self, wanted: &wire::Announce) -> Result<VecDeque<Held>, Status> {
        let of = u16::try_from(wanted.of).ok().filter(|of| *of > 0).ok_or_else(|| form::invalid("of"))?;
        let partitions: BTreeSet<u32> = wanted.partitions.iter().copied().collect();
        let sessions = Arc::clone(&self.sessions);
        // A node may have hundreds of thousands: not on a thread that has messages to carry.
        let looking = tokio::task::spawn_blocking(move || {
            sessions.held(&|user_agent| partitions.contains(&u32::from(Partition::of(user_agent, of).0)))
        });
        Ok(looking.await.map_err(|_| Status::internal("sessions cannot be listed"))?.into())
    }

    /// Hands a batch to its sessions, and answers it.
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

    /// Whether the session has taken it.
    fn hand_over(&self, session: SessionId, message: &Arc<Message>) -> bool {
        let session = self.session(session);
        match self.node.deliver(session, message) {
            Ok(()) => true,
            Err(NotDelivered::NotHere) => false,
            Err(NotDelivered::Busy) => {
                // The next message may find room: then it would come before this one.
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

/// The body is a part of the frame and of the buffer that it was read into, and would keep all of that in memory for as
/// long as the user agent takes to acknowledge. Unless it is most of them it is copied out.
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
    }
}

#[cfg(test)]
mod tests;
