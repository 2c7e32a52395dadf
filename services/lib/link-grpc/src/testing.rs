//! Models of both sides, for the tests of this crate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::node_server::{Node, NodeServer};
use pushgrid_runtime::Shutdown;
use pushgrid_store::{
    Cancelled, Claim, ErrorKind, Eviction, Held, IngressLink, LinkError, Member, NodeLink, NotDelivered,
    Opened, ReceiptLink, Registered, Resource, ResourceLink, Role, RouterLink, SessionEvents, Sessions,
    Settlement, Standing, StoreError, Subscription,
};
use pushgrid_types::{
    ChannelId, Content, Epoch, Incarnation, LeaderEpoch, Message, MessageId, MessageRef, NodeId, Partition,
    Restriction, Sequence, SessionId, SessionRef, SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
    WebhookUrl,
};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use crate::{RouterStreams, serve_node, serve_router, transport};

/// Deadline beyond any expected duration on a busy machine; failing tests wait for it.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it takes too long")
}

pub(crate) fn user_agent(label: u8) -> UserAgentId {
    UserAgentId::from_octets([label; 16])
}

pub(crate) fn session(node: u64, session: u64) -> SessionRef {
    SessionRef { node: NodeId(node), session: SessionId(session) }
}

pub(crate) fn message(user_agent: UserAgentId, label: u32, body: usize) -> Arc<Message> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&label.to_be_bytes());
    Arc::new(Message {
        id: MessageId::from_octets(id),
        to: SubscriptionRef {
            user_agent,
            channel: ChannelId::from_octets([2; 16]),
            incarnation: Incarnation::from_octets([3; 12]),
        },
        sequence: Sequence(u64::from(label)),
        accepted_at: Timestamp::from_secs(1),
        ttl: Ttl::from_secs(60),
        expires_at: Timestamp::from_secs(61),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content {
            body: Bytes::from(vec![7; body]),
            encoding: Some("aes128gcm".into()),
            ..Content::default()
        },
    })
}

pub(crate) fn router_member(id: u64, address: SocketAddr, owns: &[(u16, u64)], of: u16) -> Member {
    let owns = owns
        .iter()
        .map(|(partition, leader_epoch)| (Partition(*partition), LeaderEpoch(*leader_epoch)))
        .collect();
    Member { id: NodeId(id), role: Role::Router { owns, of }, address: address.to_string(), draining: false }
}

pub(crate) fn node_member(id: u64, address: SocketAddr) -> Member {
    Member { id: NodeId(id), role: Role::Connection, address: address.to_string(), draining: false }
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Clones a listener: the port stays taken when the first is closed, so that no other process gets it.
pub(crate) fn again(listener: TcpListener) -> (TcpListener, TcpListener) {
    let first = listener.into_std().unwrap();
    let second = first.try_clone().unwrap();
    (TcpListener::from_std(first).unwrap(), TcpListener::from_std(second).unwrap())
}

/// Closes every connection at once, until the guard is dropped.
pub(crate) fn hang_up(listener: TcpListener) -> DropGuard {
    let end = CancellationToken::new();
    let ended = end.clone();
    tokio::spawn(ended.run_until_cancelled_owned(async move {
        loop {
            drop(listener.accept().await);
        }
    }));
    end.drop_guard()
}

/// A call that [`ModelRouter`] was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Open(UserAgentId, SessionRef),
    SetUrgency(UserAgentId, SessionRef, Urgency),
    Register(UserAgentId, ChannelId, Restriction),
    Unregister(UserAgentId, ChannelId),
    UnregisterAll(UserAgentId),
    Settle(UserAgentId, Vec<Settlement>),
    Close(UserAgentId, SessionRef),
    Acknowledge(MessageRef),
    Join(UserAgentId, ChannelId, Restriction),
    EndSet(UserAgentId),
    Read(MessageRef),
    LookUp(Resource),
    OpenReceipts(UserAgentId, ChannelId, Option<WebhookUrl>),
    Unsubscribe(SubscriptionRef),
    Cancel(MessageRef),
    Alive(SubscriptionRef),
}

/// Router that records its calls and answers as configured.
#[derive(Debug)]
pub(crate) struct ModelRouter {
    pub(crate) calls: Mutex<Vec<Call>>,
    /// Called for each call; `None` is success.
    pub(crate) fails: Mutex<fn(&Call) -> Option<LinkError>>,
    /// Each settlement holds a permit while it runs.
    pub(crate) gate: Semaphore,
}

impl ModelRouter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            fails: Mutex::new(|_| None),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    pub(crate) fn fails(&self, fails: fn(&Call) -> Option<LinkError>) {
        *self.fails.lock() = fails;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// Serves until the returned guard is dropped or drained.
    pub(crate) async fn serve(self: &Arc<Self>) -> (SocketAddr, Serving) {
        let (listener, address) = listener().await;
        (address, self.serve_at(listener))
    }

    pub(crate) fn serve_at(self: &Arc<Self>, listener: TcpListener) -> Serving {
        let shutdown = Shutdown::new();
        let (router, stopping) = (Arc::clone(self), shutdown.clone());
        let task = tokio::spawn(async move { serve_router(listener, router, stopping).await.unwrap() });
        Serving { shutdown, task }
    }

    fn note(&self, call: Call) -> Result<(), LinkError> {
        let fails = *self.fails.lock();
        let failure = fails(&call);
        self.calls.lock().push(call);
        failure.map_or(Ok(()), Err)
    }
}

/// A server that ends with the test.
#[derive(Debug)]
pub(crate) struct Serving {
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Drains the server, and waits for its end.
    pub(crate) async fn drain(mut self) {
        self.shutdown.drain();
        soon(&mut self.task).await.unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

#[async_trait]
impl RouterLink for ModelRouter {
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError> {
        self.note(Call::Open(user_agent, session))?;
        let known = user_agent != self::user_agent(0);
        let epoch = Epoch(session.session.0 + 100);
        Ok(if known { Opened::Known { epoch, min_urgency } } else { Opened::Unknown })
    }

    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError> {
        self.note(Call::SetUrgency(user_agent, session, min_urgency))
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        self.note(Call::Register(user_agent, channel, restriction))?;
        Ok(registered(user_agent, channel, restriction))
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.note(Call::Unregister(user_agent, channel))
    }

    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError> {
        self.note(Call::UnregisterAll(user_agent))
    }

    async fn settle(&self, user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError> {
        let _permit = self.gate.acquire().await.unwrap();
        self.note(Call::Settle(user_agent, ended))
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        self.note(Call::Close(user_agent, session))
    }
}

#[async_trait]
impl ResourceLink for ModelRouter {
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.note(Call::Acknowledge(message))?;
        Ok(if message.id.as_octets()[0] == 0 { Cancelled::Gone } else { Cancelled::Ended })
    }

    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError> {
        self.note(Call::Join(user_agent, channel, restriction))?;
        let is_known = user_agent != self::user_agent(0);
        Ok(is_known.then(|| registered(user_agent, channel, restriction)))
    }

    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError> {
        self.note(Call::EndSet(user_agent))?;
        Ok(if user_agent == self::user_agent(0) { Cancelled::Gone } else { Cancelled::Ended })
    }

    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError> {
        self.note(Call::Read(message))?;
        let is_there = message.id.as_octets()[0] != 0;
        Ok(is_there.then(|| {
            Arc::new(Message { id: message.id, ..Message::clone(&self::message(message.user_agent, 1, 9)) })
        }))
    }

    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError> {
        self.note(Call::LookUp(resource))?;
        let endpoint = match resource {
            Resource::Subscription(_) => Some("https://push.example/push/token".to_owned()),
            Resource::Set(_) => None,
        };
        Ok(Standing { members: 3, endpoint, has_webhook: false })
    }

    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError> {
        self.note(Call::Unsubscribe(id))?;
        Ok(if id.user_agent == self::user_agent(0) { Cancelled::Gone } else { Cancelled::Ended })
    }
}

#[async_trait]
impl ReceiptLink for ModelRouter {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        self.note(Call::OpenReceipts(user_agent, channel, webhook))?;
        Ok(registered(user_agent, channel, Restriction::Open).subscription.id)
    }
}

#[async_trait]
impl IngressLink for ModelRouter {
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.note(Call::Cancel(message))?;
        Ok(if message.id.as_octets()[0] == 0 { Cancelled::Gone } else { Cancelled::Ended })
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        self.note(Call::Alive(id))?;
        Ok(id.user_agent != self::user_agent(0))
    }
}

pub(crate) fn registered(
    user_agent: UserAgentId,
    channel: ChannelId,
    restriction: Restriction,
) -> Registered {
    let id = SubscriptionRef { user_agent, channel, incarnation: Incarnation::from_octets([9; 12]) };
    let subscription = Subscription {
        id,
        restriction,
        seen_at: Timestamp::from_millis(1234),
        is_noted: true,
        webhook: None,
    };
    Registered { subscription, endpoint: "https://push.example/push/t".to_owned() }
}

/// Message or eviction received by a [`ModelNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Message(SessionRef, Arc<Message>),
    Evict(SessionRef, Eviction),
}

/// Node that forwards messages and evictions to the test, with configured sessions and refusals.
#[derive(Debug)]
pub(crate) struct ModelNode {
    id: NodeId,
    told: mpsc::Sender<Told>,
    pub(crate) refuses: Mutex<HashMap<SessionId, NotDelivered>>,
    pub(crate) held: Mutex<Vec<Held>>,
    pub(crate) streams: RouterStreams,
}

impl ModelNode {
    pub(crate) fn new(id: u64) -> (Arc<Self>, mpsc::Receiver<Told>) {
        let (told, hears) = mpsc::channel(1 << 16);
        let (refuses, held, streams) = (Mutex::default(), Mutex::default(), RouterStreams::new());
        (Arc::new(Self { id: NodeId(id), told, refuses, held, streams }), hears)
    }

    pub(crate) async fn serve(self: &Arc<Self>) -> (SocketAddr, Serving) {
        let (listener, address) = listener().await;
        (address, self.serve_at(listener))
    }

    pub(crate) fn serve_at(self: &Arc<Self>, listener: TcpListener) -> Serving {
        let shutdown = Shutdown::new();
        let (node, streams, stopping) = (Arc::clone(self), self.streams.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            serve_node(listener, node.clone(), node, streams, stopping).await.unwrap();
        });
        Serving { shutdown, task }
    }

    pub(crate) fn holds(&self, user_agent: UserAgentId, session: u64, epoch: u64) -> Held {
        let session = SessionRef { node: self.id, session: SessionId(session) };
        let claim = Claim { epoch: Epoch(epoch), session };
        let held = Held { user_agent, claim, min_urgency: Urgency::Low };
        self.held.lock().push(held);
        held
    }
}

impl NodeLink for ModelNode {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        if let Some(refusal) = self.refuses.lock().get(&to.session) {
            return Err(*refusal);
        }
        self.told.try_send(Told::Message(to, Arc::clone(message))).unwrap();
        Ok(())
    }

    fn evict(&self, session: SessionRef, why: Eviction) {
        self.told.try_send(Told::Evict(session, why)).unwrap();
    }
}

impl Sessions for ModelNode {
    fn id(&self) -> NodeId {
        self.id
    }

    fn held(&self, chosen: &dyn Fn(UserAgentId) -> bool) -> Vec<Held> {
        self.held.lock().iter().filter(|held| chosen(held.user_agent)).copied().collect()
    }
}

/// Event reported to a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Refused(UserAgentId, SessionRef),
    Announced(Vec<Held>),
    Gone(NodeId),
}

/// Receiver of session events that forwards them to the test.
#[derive(Debug)]
pub(crate) struct ModelEvents(mpsc::Sender<Event>);

impl ModelEvents {
    /// Makes a receiver that takes `room` events before blocking.
    pub(crate) fn new(room: usize) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (events, heard) = mpsc::channel(room);
        (Arc::new(Self(events)), heard)
    }

    async fn tell(&self, event: Event) {
        self.0.send(event).await.unwrap();
    }
}

#[async_trait]
impl SessionEvents for ModelEvents {
    async fn refused(&self, user_agent: UserAgentId, session: SessionRef) {
        self.tell(Event::Refused(user_agent, session)).await;
    }

    async fn announced(&self, held: Vec<Held>) {
        self.tell(Event::Announced(held)).await;
    }

    async fn gone(&self, node: NodeId) {
        self.tell(Event::Gone(node)).await;
    }
}

/// A node whose conversations are led by the test.
#[derive(Debug)]
pub(crate) struct Scripted(mpsc::Sender<Talk>);

/// One conversation: the router's frames, and the answers. Dropping it breaks the stream.
pub(crate) struct Talk {
    pub(crate) incoming: Streaming<wire::RouterFrame>,
    pub(crate) answers: mpsc::Sender<Result<wire::NodeFrame, Status>>,
}

impl Talk {
    /// The next frame.
    pub(crate) async fn hear(&mut self) -> wire::router_frame::Frame {
        soon(self.incoming.message()).await.unwrap().expect("the stream ended").frame.unwrap()
    }

    /// The next frame, which is a batch.
    pub(crate) async fn batch(&mut self) -> wire::Batch {
        match self.hear().await {
            wire::router_frame::Frame::Batch(batch) => batch,
            wire::router_frame::Frame::Hello(_) | wire::router_frame::Frame::Announce(_) => {
                panic!("no batch")
            }
        }
    }

    /// Answers the frame `number`.
    pub(crate) async fn take(&self, number: u64) {
        let frame = wire::NodeFrame { taken: number, ..wire::NodeFrame::default() };
        self.answers.send(Ok(frame)).await.unwrap();
    }
}

impl Scripted {
    /// Serves until the guard is dropped.
    pub(crate) async fn serve() -> (SocketAddr, mpsc::Receiver<Talk>, DropGuard) {
        let (listener, address) = listener().await;
        let (talks, end) = Self::serve_at(listener);
        (address, talks, end)
    }

    pub(crate) fn serve_at(listener: TcpListener) -> (mpsc::Receiver<Talk>, DropGuard) {
        let (talks, come) = mpsc::channel(16);
        let end = CancellationToken::new();
        let serving = transport::server()
            .serve_with_incoming(NodeServer::new(Self(talks)), transport::incoming(listener));
        tokio::spawn(end.clone().run_until_cancelled_owned(serving));
        (come, end.drop_guard())
    }
}

#[tonic::async_trait]
impl Node for Scripted {
    type DeliverStream =
        std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<wire::NodeFrame, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<wire::RouterFrame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (answers, queue) = mpsc::channel(64);
        let talk = Talk { incoming: request.into_inner(), answers };
        self.0.send(talk).await.map_err(|_| Status::unavailable("the test has ended"))?;
        let answers = futures_util::stream::unfold(queue, |mut queue| async {
            let answer = queue.recv().await?;
            Some((answer, queue))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Error of an unavailable store.
pub(crate) fn unavailable() -> StoreError {
    StoreError::plain(ErrorKind::Unavailable)
}
