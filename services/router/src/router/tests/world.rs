//! A router over models, whose partitions the test assigns and whose seams fail on demand.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgrid_crypto::{EndpointKeys, EndpointTokens, MessageAddresses};
use pushgrid_runtime::clock::SteadyClock;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{
    Claim, Commit, End, ErrorKind, EventLog, Eviction, Flushing, Held, LedgerSnapshot, LogConsumer, LogEnd,
    LogReader, Mailbox, NodeLink, NotDelivered, Offsets, OwnershipLink, Page, PageLimit, PageStart,
    PartitionLifecycle, PartitionState, Presence, RouterLink, Share, Stored, Usage,
};
use pushgrid_store_model::memory::{Memory, MemoryConsumer, MemoryPresence};
use pushgrid_types::{
    ChannelId, Clock, Content, Epoch, LeaderEpoch, Message, MessageId, MessageRef, NodeId, Outcome,
    Restriction, Sequence, SessionId, SessionRef, SubscriptionRef, SystemClock, SystemRng, Timestamp, Ttl,
    Urgency, UserAgentId,
};
use pushgrid_webhook::Webhooks;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::*;
use crate::Config;

pub(super) const PARTITIONS: u16 = 4;

/// Assignments made by the test.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) changes: mpsc::Receiver<Option<Assignment>>,
    pub(super) left: Arc<Notify>,
}

#[async_trait]
impl Assignments for Assigned {
    fn partitions(&self) -> u16 {
        PARTITIONS
    }

    async fn next(&mut self) -> Result<Option<Assignment>, StoreError> {
        Ok(self.changes.recv().await.flatten())
    }

    fn leave(&self) {
        self.left.notify_one();
    }
}

/// Share whose log and offsets the loader of this test ignores.
#[derive(Debug)]
pub(super) struct Nothing;

#[async_trait]
impl LogReader for Nothing {
    async fn seek(&mut self, from: Sequence) -> Result<Sequence, StoreError> {
        Ok(from)
    }

    async fn next(&mut self, _limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        Ok(Vec::new())
    }

    fn take_lost(&mut self) -> Vec<std::ops::Range<Sequence>> {
        Vec::new()
    }
}

#[async_trait]
impl Offsets for Nothing {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        Ok(None)
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        Ok(Sequence(1))
    }

    async fn commit(&self, _commit: Commit) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Loader that keeps every partition in one memory, which outlives each owner.
#[derive(Debug)]
pub(super) struct InMemory {
    pub(super) memory: Memory,
    pub(super) presence: Arc<MemoryPresence>,
    pub(super) closed: watch::Sender<u32>,
    /// Reads of the log and look-ups of sockets that are still to fail, and ends of messages that are still to be
    /// refused.
    pub(super) faults: Arc<Faults>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) reads: AtomicU32,
    pub(super) locates: AtomicU32,
    pub(super) settles: AtomicU32,
    pub(super) stores: AtomicU32,
    pub(super) failed_flushes: AtomicU32,
    /// Flushes begun so far.
    pub(super) flushes: watch::Sender<u32>,
    /// Holds flushes back, each until it is given a permit.
    pub(super) gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Faults {
    fn gate(&self) -> Option<Arc<Semaphore>> {
        self.gate.lock().clone()
    }

    /// Holds flushes back from now on.
    pub(super) fn hold_flushes(&self) -> Arc<Semaphore> {
        self.gate.lock().insert(Arc::new(Semaphore::new(0))).clone()
    }
}

pub(super) fn fails(left: &AtomicU32, kind: ErrorKind) -> Result<(), StoreError> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if taken.is_ok() { Err(StoreError::plain(kind)) } else { Ok(()) }
}

#[derive(Debug)]
pub(super) struct FaultyConsumer(MemoryConsumer, Arc<Faults>);

#[async_trait]
impl LogConsumer for FaultyConsumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        fails(&self.1.reads, ErrorKind::Unavailable)?;
        self.0.next(limit).await
    }

    fn read_to(&self) -> Sequence {
        self.0.read_to()
    }

    fn inherited_to(&self) -> Sequence {
        self.0.inherited_to()
    }

    fn end(&self) -> LogEnd {
        self.0.end()
    }

    fn settle(&self, ended: Vec<End>) {
        self.0.settle(ended);
    }

    fn flush(&self) -> Flushing {
        let (flushing, faults) = (self.0.flush(), self.1.clone());
        Box::pin(async move {
            faults.flushes.send_modify(|begun| *begun += 1);
            if let Some(gate) = faults.gate() {
                gate.acquire().await.expect("the gate is never closed").forget();
            }
            fails(&faults.failed_flushes, ErrorKind::Unknown)?;
            flushing.await
        })
    }
}

#[derive(Debug)]
pub(super) struct FaultyPresence(Arc<MemoryPresence>, Arc<Faults>);

#[async_trait]
impl Presence for FaultyPresence {
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError> {
        self.0.claim(user_agent, session).await
    }

    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError> {
        self.0.resume(claims).await
    }

    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError> {
        fails(&self.1.locates, ErrorKind::Unavailable)?;
        self.0.locate(user_agents).await
    }

    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError> {
        self.0.release(user_agent, epoch).await
    }
}

#[derive(Debug)]
pub(super) struct FaultyMailbox(Arc<dyn Mailbox>, Arc<Faults>);

#[async_trait]
impl Mailbox for FaultyMailbox {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        fails(&self.1.stores, ErrorKind::Unavailable)?;
        self.0.store(messages).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        self.0.page(user_agent, start, now, limit).await
    }

    async fn message(&self, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.0.message(user_agent, id).await
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError> {
        fails(&self.1.settles, ErrorKind::Corrupt)?;
        self.0.settle(user_agent, ended).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.0.expire(now, limit).await
    }

    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError> {
        self.0.usage(user_agent).await
    }
}

#[derive(Debug)]
pub(super) struct Closing(Memory, watch::Sender<u32>);

#[async_trait]
impl PartitionLoader for InMemory {
    async fn take_over(&self, share: Share) -> Result<PartitionState, StoreError> {
        Ok(PartitionState {
            leader_epoch: LeaderEpoch(u64::from(share.partition.0) + 1),
            consumer: Box::new(FaultyConsumer(self.memory.consumer(), self.faults.clone())),
            mailbox: Arc::new(FaultyMailbox(Arc::new(self.memory.mailbox()), self.faults.clone())),
            subscriptions: Arc::new(self.memory.subscriptions()),
            presence: Arc::new(FaultyPresence(self.presence.clone(), self.faults.clone())),
            lifecycle: Arc::new(Closing(self.memory.clone(), self.closed.clone())),
        })
    }
}

#[async_trait]
impl PartitionLifecycle for Closing {
    fn account(&self) -> LedgerSnapshot {
        self.0.ledger().snapshot()
    }

    async fn close(&self) {
        self.1.send_modify(|closed| *closed += 1);
    }

    async fn ended(&self) {
        std::future::pending::<()>().await;
    }
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) delivered: watch::Sender<Vec<(SessionRef, MessageId)>>,
    pub(super) evicted: watch::Sender<Vec<SessionRef>>,
    pub(super) asked: Mutex<Vec<Partition>>,
}

impl NodeLink for Nodes {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        self.delivered.send_modify(|delivered| delivered.push((to, message.id)));
        Ok(())
    }

    fn evict(&self, session: SessionRef, _why: Eviction) {
        self.evicted.send_modify(|evicted| evicted.push(session));
    }
}

impl OwnershipLink for Nodes {
    fn heard_from(&self, _: NodeId) {}

    fn gained(&self, partition: Partition) {
        self.asked.lock().push(partition);
    }

    fn lost(&self, _: Partition) {}
}

pub(super) struct World {
    pub(super) changes: mpsc::Sender<Option<Assignment>>,
    pub(super) left: Arc<Notify>,
    pub(super) registry: PartitionRegistry,
    pub(super) nodes: Arc<Nodes>,
    pub(super) loader: Arc<InMemory>,
    pub(super) changed: watch::Receiver<u32>,
    pub(super) shutdown: Shutdown,
    pub(super) running: tokio::task::JoinHandle<Result<(), RouterFailure>>,
}

impl World {
    pub(super) fn new() -> Self {
        let (assigning, receiver) = mpsc::channel(8);
        let left = Arc::new(Notify::new());
        let nodes = Arc::new(Nodes::default());
        let loader = Arc::new(InMemory {
            memory: Memory::new(),
            presence: Arc::new(MemoryPresence::new()),
            closed: watch::Sender::new(0),
            faults: Arc::default(),
        });
        let changing = watch::Sender::new(0);
        let changed = changing.subscribe();
        let own = ["webhook.allow_private=true", "webhook.allow_http=true", "webhook.first_pause=10ms"];
        let own = own.map(str::to_owned);
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &own).unwrap());
        let (keys, meter) = (EndpointKeys::generate(&SystemRng), Meter::new());
        let webhooks = Webhooks::new(&pushgrid_webhook::Config::read(&mut reader), &keys, &meter).unwrap();
        let (router, registry) = Router::new(
            Arc::new(RouterContext {
                config: Config::read(&mut reader),
                tokens: EndpointTokens::new(&keys),
                addresses: MessageAddresses::new(&keys),
                webhooks,
                wall: Arc::new(SystemClock),
                public_url: "http://push.example".to_owned(),
                clock: Arc::new(SteadyClock::of_machine()),
                rng: Arc::new(SystemRng),
                meter,
            }),
            RouterDeps {
                assignments: Box::new(Assigned { changes: receiver, left: left.clone() }),
                loader: loader.clone(),
                nodes: nodes.clone(),
                changed: Box::new(move || changing.send_modify(|changes| *changes += 1)),
            },
        );
        let shutdown = Shutdown::new();
        let running = tokio::spawn(router.run(shutdown.clone()));
        Self { changes: assigning, left, registry, nodes, loader, changed, shutdown, running }
    }

    /// A subscription of a user agent of `partition`, which is gained for it.
    pub(super) async fn subscribed(&mut self, partition: Partition) -> SubscriptionRef {
        self.gain(partition).await;
        let channel = ChannelId::random(&SystemRng);
        let registered = self.registry.register(user_agent_of(partition), channel, Restriction::Open).await;
        registered.unwrap().subscription.id
    }

    pub(super) async fn gain(&mut self, partition: Partition) {
        let share = Share { partition, reader: Box::new(Nothing), offsets: Arc::new(Nothing) };
        self.changes.send(Some(Assignment::Gained(share))).await.unwrap();
        let registry = self.registry.clone();
        let owns = self.changed.wait_for(|_| registry.owns().iter().any(|(it, _)| *it == partition));
        within(owns).await.unwrap();
    }

    /// Takes a partition away, and returns once the next owner may begin.
    pub(super) async fn lose(&self, partition: Partition) {
        let (done, given_up) = oneshot::channel();
        self.changes.send(Some(Assignment::Lost { partition, done })).await.unwrap();
        assert!(within(given_up).await.is_err(), "it is dropped, which is enough");
    }

    pub(super) async fn post(&self, to: SubscriptionRef) -> MessageId {
        self.post_for(to, Ttl::from_secs(3600)).await
    }

    pub(super) async fn post_for(&self, to: SubscriptionRef, ttl: Ttl) -> MessageId {
        self.append(to, ttl, Content::default()).await
    }

    pub(super) async fn post_with(&self, to: SubscriptionRef, content: Content) -> MessageId {
        self.append(to, Ttl::from_secs(3600), content).await
    }

    pub(super) async fn append(&self, to: SubscriptionRef, ttl: Ttl, content: Content) -> MessageId {
        self.accept(to, ttl, content).await.id
    }

    /// Posts a message, and returns its address.
    pub(super) async fn accept(&self, to: SubscriptionRef, ttl: Ttl, content: Content) -> MessageRef {
        let id = MessageId::random(&SystemRng);
        let now = SteadyClock::of_machine().now();
        let message = Message {
            id,
            to,
            sequence: Sequence(0),
            accepted_at: now,
            ttl,
            expires_at: Message::expiry(now, ttl),
            urgency: Urgency::Normal,
            topic: None,
            receipt: None,
            content,
        };
        let sequence = self.loader.memory.log().append(message).await.unwrap();
        MessageRef { user_agent: to.user_agent, channel: to.channel, id, sequence }
    }
}

/// Waits until `messages` messages are stored for a user agent.
pub(super) async fn holding(mailbox: &dyn Mailbox, user_agent: UserAgentId, messages: u64) {
    let come = async {
        while mailbox.usage(user_agent).await.unwrap().messages != messages {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(come).await;
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("it comes in time")
}

pub(super) fn user_agent_of(partition: Partition) -> UserAgentId {
    let mut all = (0..).map(|label: u128| UserAgentId::from_octets(label.to_be_bytes()));
    all.find(|user_agent| Partition::of(*user_agent, PARTITIONS) == partition).unwrap()
}

pub(super) fn session(node: u64, session: u64) -> SessionRef {
    SessionRef { node: NodeId(node), session: SessionId(session) }
}

pub(super) fn held(user_agent: UserAgentId, epoch: u64, session: SessionRef) -> Held {
    Held { user_agent, claim: Claim { epoch: Epoch(epoch), session }, min_urgency: Urgency::LEAST }
}
