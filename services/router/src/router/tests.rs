//! A router over models: partitions are gained and lost, and reports about sessions reach their owner.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgrid_crypto::{EndpointKeys, EndpointTokens};
use pushgrid_runtime::clock::SteadyClock;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{
    Claim, Commit, End, ErrorKind, EventLog, Eviction, Held, IngressLink, LedgerSnapshot, LinkError,
    LogConsumer, LogReader, Mailbox, NodeLink, NotDelivered, Offsets, Opened, OwnershipLink, PageLimit,
    PartitionLifecycle, PartitionState, Presence, RouterLink, SessionEvents, Settlement, Share, Stored,
    Usage,
};
use pushgrid_store_model::memory::{Memory, MemoryConsumer, MemoryPresence};
use pushgrid_types::{
    ChannelId, Clock, Content, Epoch, LeaderEpoch, Message, MessageId, NodeId, Outcome, Restriction,
    Sequence, SessionId, SessionRef, SubscriptionRef, SystemRng, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::*;
use crate::Config;

mod lines;

const PARTITIONS: u16 = 4;

/// Assignments made by the test.
#[derive(Debug)]
struct Assigned {
    changes: mpsc::Receiver<Option<Assignment>>,
    left: Arc<Notify>,
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
struct Nothing;

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
struct InMemory {
    memory: Memory,
    presence: Arc<MemoryPresence>,
    closed: watch::Sender<u32>,
    /// Reads of the log and look-ups of sockets that are still to fail, and ends of messages that are still to be
    /// refused.
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    reads: AtomicU32,
    locates: AtomicU32,
    settles: AtomicU32,
}

fn fails(left: &AtomicU32, kind: ErrorKind) -> Result<(), StoreError> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if taken.is_ok() { Err(StoreError::plain(kind)) } else { Ok(()) }
}

#[derive(Debug)]
struct FaultyConsumer(MemoryConsumer, Arc<Faults>);

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

    fn settle(&self, ended: Vec<End>) {
        self.0.settle(ended);
    }
}

#[derive(Debug)]
struct FaultyPresence(Arc<MemoryPresence>, Arc<Faults>);

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
struct FaultyMailbox(Arc<dyn Mailbox>, Arc<Faults>);

#[async_trait]
impl Mailbox for FaultyMailbox {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        self.0.store(messages).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, StoreError> {
        self.0.page(user_agent, after, now, limit).await
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
struct Closing(Memory, watch::Sender<u32>);

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
struct Nodes {
    delivered: watch::Sender<Vec<(SessionRef, MessageId)>>,
    evicted: watch::Sender<Vec<SessionRef>>,
    asked: Mutex<Vec<Partition>>,
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

struct World {
    changes: mpsc::Sender<Option<Assignment>>,
    left: Arc<Notify>,
    registry: PartitionRegistry,
    nodes: Arc<Nodes>,
    loader: Arc<InMemory>,
    changed: watch::Receiver<u32>,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), RouterFailure>>,
}

impl World {
    fn new() -> Self {
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
        let mut reader = Reader::new(Layers::none());
        let (router, registry) = Router::new(
            Arc::new(RouterContext {
                config: Config::read(&mut reader),
                tokens: EndpointTokens::new(&EndpointKeys::generate(&SystemRng)),
                public_url: "http://push.example".to_owned(),
                clock: Arc::new(SteadyClock::of_machine()),
                rng: Arc::new(SystemRng),
                meter: Meter::new(),
            }),
            RouterDeps {
                assignments: Box::new(Assigned { changes: receiver, left: left.clone() }),
                loader: loader.clone(),
                nodes: nodes.clone(),
            },
            move || changing.send_modify(|changes| *changes += 1),
        );
        let shutdown = Shutdown::new();
        let running = tokio::spawn(router.run(shutdown.clone()));
        Self { changes: assigning, left, registry, nodes, loader, changed, shutdown, running }
    }

    /// A subscription of a user agent of `partition`, which is gained for it.
    async fn subscribed(&mut self, partition: Partition) -> SubscriptionRef {
        self.gain(partition).await;
        let channel = ChannelId::random(&SystemRng);
        let registered = self.registry.register(user_agent_of(partition), channel, Restriction::Open).await;
        registered.unwrap().subscription.id
    }

    async fn gain(&mut self, partition: Partition) {
        let share = Share { partition, reader: Box::new(Nothing), offsets: Arc::new(Nothing) };
        self.changes.send(Some(Assignment::Gained(share))).await.unwrap();
        let registry = self.registry.clone();
        let owns = self.changed.wait_for(|_| registry.owns().iter().any(|(it, _)| *it == partition));
        within(owns).await.unwrap();
    }

    /// Takes a partition away, and returns once the next owner may begin.
    async fn lose(&self, partition: Partition) {
        let (done, given_up) = oneshot::channel();
        self.changes.send(Some(Assignment::Lost { partition, done })).await.unwrap();
        assert!(within(given_up).await.is_err(), "it is dropped, which is enough");
    }

    async fn post(&self, to: SubscriptionRef) -> MessageId {
        self.post_for(to, Ttl::from_secs(3600)).await
    }

    async fn post_for(&self, to: SubscriptionRef, ttl: Ttl) -> MessageId {
        self.append(to, ttl, Content::default()).await
    }

    async fn post_with(&self, to: SubscriptionRef, content: Content) -> MessageId {
        self.append(to, Ttl::from_secs(3600), content).await
    }

    async fn append(&self, to: SubscriptionRef, ttl: Ttl, content: Content) -> MessageId {
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
            content,
        };
        self.loader.memory.log().append(message).await.unwrap();
        id
    }
}

/// Waits until `messages` messages are stored for a user agent.
async fn holding(mailbox: &dyn Mailbox, user_agent: UserAgentId, messages: u64) {
    let come = async {
        while mailbox.usage(user_agent).await.unwrap().messages != messages {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(come).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("it comes in time")
}

fn user_agent_of(partition: Partition) -> UserAgentId {
    let mut all = (0..).map(|label: u128| UserAgentId::from_octets(label.to_be_bytes()));
    all.find(|user_agent| Partition::of(*user_agent, PARTITIONS) == partition).unwrap()
}

fn session(node: u64, session: u64) -> SessionRef {
    SessionRef { node: NodeId(node), session: SessionId(session) }
}

fn held(user_agent: UserAgentId, epoch: u64, session: SessionRef) -> Held {
    Held { user_agent, claim: Claim { epoch: Epoch(epoch), session } }
}

#[tokio::test]
async fn a_call_finds_its_partition_while_it_is_owned_and_no_other() {
    let mut world = World::new();
    let (here, elsewhere) = (user_agent_of(Partition(1)), user_agent_of(Partition(2)));
    world.gain(Partition(1)).await;
    assert_eq!(*world.nodes.asked.lock(), [Partition(1)], "nodes are asked for their sessions");

    let registered =
        world.registry.register(here, ChannelId::random(&SystemRng), Restriction::Open).await.unwrap();
    assert!(world.registry.alive(registered.subscription.id).await.unwrap());
    assert!(matches!(world.registry.open(here, session(1, 1)).await, Ok(Opened::Known(_))));
    let refused = world.registry.open(elsewhere, session(1, 2)).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");

    world.lose(Partition(1)).await;
    assert_eq!(*world.loader.closed.borrow(), 1, "its state was closed before the next owner begins");
    assert!(world.registry.owns().is_empty());
    let refused = world.registry.open(here, session(1, 3)).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
}

#[tokio::test]
async fn the_sessions_that_a_node_announces_get_their_messages_from_the_new_owner() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(3)).await;
    let user_agent = subscription.user_agent;
    let socket = session(7, 1);
    let Opened::Known(epoch) = world.registry.open(user_agent, socket).await.unwrap() else {
        panic!("it has a subscription")
    };
    world.lose(Partition(3)).await;
    let id = world.post(subscription).await;

    world.gain(Partition(3)).await;
    world.registry.announced(vec![held(user_agent, epoch.0, socket)]).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_superseded_elsewhere_is_closed_when_it_is_announced() {
    let mut world = World::new();
    let user_agent = world.subscribed(Partition(0)).await.user_agent;
    let Opened::Known(epoch) = world.registry.open(user_agent, session(2, 9)).await.unwrap() else {
        panic!("it has a subscription")
    };
    world.registry.announced(vec![held(user_agent, epoch.0 - 1, session(1, 5))]).await;
    let mut evicted = world.nodes.evicted.subscribe();
    within(evicted.wait_for(|evicted| *evicted == [session(1, 5)])).await.unwrap();
}

#[tokio::test]
async fn what_was_sent_to_a_node_that_is_gone_waits_for_the_next_session() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(1)).await;
    let user_agent = subscription.user_agent;
    let (first, second) = (session(1, 1), session(2, 1));
    world.registry.open(user_agent, first).await.unwrap();
    let id = world.post(subscription).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| *delivered == [(first, id)])).await.unwrap();

    world.registry.gone(NodeId(1)).await;
    world.registry.open(user_agent, second).await.unwrap();
    within(delivered.wait_for(|delivered| delivered.last() == Some(&(second, id)))).await.unwrap();
    assert!(world.nodes.evicted.borrow().is_empty(), "a socket that is gone is not closed");
}

#[tokio::test]
async fn draining_hands_every_partition_over_and_then_ends() {
    let mut world = World::new();
    world.gain(Partition(0)).await;
    world.gain(Partition(1)).await;
    world.shutdown.drain();
    within(world.left.notified()).await;
    world.lose(Partition(0)).await;
    world.lose(Partition(1)).await;
    world.changes.send(None).await.unwrap();
    within(world.running).await.unwrap().unwrap();
    assert_eq!(*world.loader.closed.borrow(), 2);
}

#[tokio::test]
async fn a_message_with_ttl_0_waits_for_the_look_up_of_its_socket() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let socket = session(4, 1);
    world.registry.open(user_agent, socket).await.unwrap();
    world.lose(Partition(2)).await;
    world.gain(Partition(2)).await;
    // Nobody has announced it to the new owner.
    world.loader.faults.locates.store(2, Ordering::Relaxed);
    let id = world.post_for(subscription, Ttl::from_secs(0)).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_opened_again_keeps_what_is_in_flight_to_it() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let socket = session(4, 1);
    world.registry.open(user_agent, socket).await.unwrap();
    let mut delivered = world.nodes.delivered.subscribe();
    let mut sent = Vec::new();
    for ttl in [0, 3600] {
        sent.push((socket, world.post_for(subscription, Ttl::from_secs(ttl)).await));
        within(delivered.wait_for(|delivered| *delivered == sent)).await.unwrap();
    }
    world.registry.open(user_agent, socket).await.unwrap();
    sent.push((socket, world.post(subscription).await));
    within(delivered.wait_for(|delivered| delivered.len() >= sent.len())).await.unwrap();
    assert_eq!(*delivered.borrow(), sent, "nothing is sent twice");
    let ended = sent.iter().map(|(_, id)| Settlement { id: *id, outcome: Outcome::Delivered });
    world.registry.settle(user_agent, ended.collect()).await.unwrap();
    world.registry.close(user_agent, socket).await.unwrap();
    let account = world.loader.memory.ledger().snapshot();
    assert_eq!(account.ended[Outcome::Delivered.index()], 3, "{account:?}");
    // By the claim that it renewed: nobody has to find it there.
    let located = world.loader.presence.locate(&[user_agent]).await.unwrap();
    assert_eq!(located, [None]);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_though_its_user_agent_is_set_aside_for_a_while() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let id = world.post(subscription).await;
    let socket = session(4, 1);
    let mailbox = world.loader.memory.mailbox();
    holding(&mailbox, user_agent, 1).await;
    world.registry.open(user_agent, socket).await.unwrap();
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| *delivered == [(socket, id)])).await.unwrap();
    world.loader.faults.settles.store(3, Ordering::Relaxed);
    let ended = vec![Settlement { id, outcome: Outcome::Delivered }];
    world.registry.settle(user_agent, ended).await.unwrap();
    holding(&mailbox, user_agent, 0).await;
}
