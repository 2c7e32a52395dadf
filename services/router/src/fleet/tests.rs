//! A fleet over models: partitions come and go, and what is said of sessions finds its way.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_crypto::EndpointKeys;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_store::memory::{Memory, MemoryPresence};
use pushgrid_store::{
    Claim, Commit, EventLog, Eviction, Held, LedgerSnapshot, LinkError, LogReader, NotDelivered, Offsets,
    Opened, RouterLink, SessionEvents, Share,
};
use pushgrid_types::{
    ChannelId, Content, Epoch, Message, MessageId, NodeId, Sequence, SessionId, SessionRef, SubscriptionRef,
    SystemClock, SystemRng, Tenure, Ttl, Urgency, UserAgentId,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::*;

const PARTITIONS: u16 = 4;

/// Assigns what the test says.
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

/// A share that the keeper of this test does not look at.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl LogReader for Nothing {
    async fn seek(&mut self, _from: Sequence) -> Result<(), StoreError> {
        Ok(())
    }

    async fn next(&mut self, _limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Offsets for Nothing {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        Ok(None)
    }

    async fn commit(&self, _commit: Commit) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Keeps every partition in one memory, which outlives each owner.
#[derive(Debug)]
struct InMemory {
    memory: Memory,
    presence: Arc<MemoryPresence>,
    closed: watch::Sender<u32>,
}

#[derive(Debug)]
struct Closing(Memory, watch::Sender<u32>);

#[async_trait]
impl Keeper for InMemory {
    async fn take_over(&self, share: Share) -> Result<Estate, StoreError> {
        Ok(Estate {
            tenure: Tenure(u64::from(share.partition.0) + 1),
            consumer: Box::new(self.memory.consumer()),
            mailbox: Arc::new(self.memory.mailbox()),
            subscriptions: Arc::new(self.memory.subscriptions()),
            presence: self.presence.clone(),
            life: Arc::new(Closing(self.memory.clone(), self.closed.clone())),
        })
    }
}

#[async_trait]
impl Life for Closing {
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

    fn gained(&self, partition: Partition) {
        self.asked.lock().unwrap().push(partition);
    }
}

struct World {
    changes: mpsc::Sender<Option<Assignment>>,
    left: Arc<Notify>,
    table: Table,
    nodes: Arc<Nodes>,
    keeper: Arc<InMemory>,
    changed: watch::Receiver<u32>,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), FleetFailure>>,
}

impl World {
    fn new() -> Self {
        let (assigning, receiver) = mpsc::channel(8);
        let left = Arc::new(Notify::new());
        let nodes = Arc::new(Nodes::default());
        let keeper = Arc::new(InMemory {
            memory: Memory::new(),
            presence: Arc::new(MemoryPresence::new()),
            closed: watch::Sender::new(0),
        });
        let changing = watch::Sender::new(0);
        let changed = changing.subscribe();
        let mut reader = Reader::new(Layers::none());
        let (fleet, table) = Fleet::new(
            Config::read(&mut reader),
            FleetDeps {
                assignments: Box::new(Assigned { changes: receiver, left: left.clone() }),
                keeper: keeper.clone(),
                nodes: nodes.clone(),
                tokens: EndpointTokens::new(&EndpointKeys::generate(&SystemRng)),
                public_url: "http://push.example".to_owned(),
                clock: Arc::new(SystemClock),
                rng: Arc::new(SystemRng),
                meter: Meter::new(),
            },
            move || changing.send_modify(|changes| *changes += 1),
        );
        let shutdown = Shutdown::new();
        let running = tokio::spawn(fleet.run(shutdown.clone()));
        Self { changes: assigning, left, table, nodes, keeper, changed, shutdown, running }
    }

    async fn gain(&mut self, partition: Partition) {
        let share = Share { partition, reader: Box::new(Nothing), offsets: Arc::new(Nothing) };
        self.changes.send(Some(Assignment::Gained(share))).await.unwrap();
        let table = self.table.clone();
        let owns = self.changed.wait_for(|_| table.owns().iter().any(|(it, _)| *it == partition));
        within(owns).await.unwrap();
    }

    /// Takes a partition away, and answers when the next owner may begin.
    async fn lose(&self, partition: Partition) {
        let (done, given_up) = oneshot::channel();
        self.changes.send(Some(Assignment::Lost { partition, done })).await.unwrap();
        assert!(within(given_up).await.is_err(), "it is dropped, which is enough");
    }

    async fn post(&self, to: SubscriptionRef) -> MessageId {
        let id = MessageId::random(&SystemRng);
        let now = SystemClock.now();
        let ttl = Ttl::from_secs(3600);
        let message = Message {
            id,
            to,
            sequence: Sequence(0),
            accepted_at: now,
            ttl,
            expires_at: Message::expiry(now, ttl),
            urgency: Urgency::Normal,
            topic: None,
            content: Content::default(),
        };
        self.keeper.memory.log().append(message).await.unwrap();
        id
    }
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
    assert_eq!(*world.nodes.asked.lock().unwrap(), [Partition(1)], "nodes are asked for their sessions");

    let registered = world.table.register(here, ChannelId::random(&SystemRng), None).await.unwrap();
    assert!(world.table.alive(registered.subscription.id).await.unwrap());
    assert!(matches!(world.table.open(here, session(1, 1)).await, Ok(Opened::Known(_))));
    let refused = world.table.open(elsewhere, session(1, 2)).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");

    world.lose(Partition(1)).await;
    assert_eq!(*world.keeper.closed.borrow(), 1, "its state was closed before the next owner begins");
    assert!(world.table.owns().is_empty());
    let refused = world.table.open(here, session(1, 3)).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
}

#[tokio::test]
async fn the_sessions_that_a_node_announces_get_their_messages_from_the_new_owner() {
    let mut world = World::new();
    let user_agent = user_agent_of(Partition(3));
    world.gain(Partition(3)).await;
    let registered = world.table.register(user_agent, ChannelId::random(&SystemRng), None).await.unwrap();
    let socket = session(7, 1);
    let Opened::Known(epoch) = world.table.open(user_agent, socket).await.unwrap() else {
        panic!("it has a subscription")
    };
    world.lose(Partition(3)).await;
    let id = world.post(registered.subscription.id).await;

    world.gain(Partition(3)).await;
    world.table.announced(vec![held(user_agent, epoch.0, socket)]).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_superseded_elsewhere_is_closed_when_it_is_announced() {
    let mut world = World::new();
    let user_agent = user_agent_of(Partition(0));
    world.gain(Partition(0)).await;
    world.table.register(user_agent, ChannelId::random(&SystemRng), None).await.unwrap();
    let Opened::Known(epoch) = world.table.open(user_agent, session(2, 9)).await.unwrap() else {
        panic!("it has a subscription")
    };
    world.table.announced(vec![held(user_agent, epoch.0 - 1, session(1, 5))]).await;
    let mut evicted = world.nodes.evicted.subscribe();
    within(evicted.wait_for(|evicted| *evicted == [session(1, 5)])).await.unwrap();
}

#[tokio::test]
async fn what_was_sent_to_a_node_that_is_gone_waits_for_the_next_session() {
    let mut world = World::new();
    let user_agent = user_agent_of(Partition(1));
    world.gain(Partition(1)).await;
    let registered = world.table.register(user_agent, ChannelId::random(&SystemRng), None).await.unwrap();
    let (first, second) = (session(1, 1), session(2, 1));
    world.table.open(user_agent, first).await.unwrap();
    let id = world.post(registered.subscription.id).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| *delivered == [(first, id)])).await.unwrap();

    world.table.gone(NodeId(1)).await;
    world.table.open(user_agent, second).await.unwrap();
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
    assert_eq!(*world.keeper.closed.borrow(), 2);
}
