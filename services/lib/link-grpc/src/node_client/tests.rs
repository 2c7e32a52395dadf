//! Delivery over real streams to model nodes: order, reconnection, bounds, and nodes given up.

use std::net::SocketAddr;

use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::router_frame::Frame;
use pushgrid_store::Member;
use pushgrid_types::SessionId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{
    Event, ModelEvents, ModelNode, Scripted, Talk, Told, again, hang_up, listener, message, node_member,
    router_member, session, soon, user_agent,
};

mod early;

/// Router with one node, as seen by the test.
struct Routing {
    nodes: Nodes,
    membership_view: MembershipView,
    meter: Meter,
    events: mpsc::Receiver<Event>,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Routing {
    fn new(config: NodesConfig, at: SocketAddr) -> Self {
        Self::hearing(config, at, 1024)
    }

    /// Makes a router that takes `room` events before blocking.
    fn hearing(config: NodesConfig, at: SocketAddr, room: usize) -> Self {
        let (meter, shutdown) = (Meter::new(), Shutdown::new());
        let membership_view = MembershipView::new(&meter);
        let nodes = Nodes::new(config, ROUTER, membership_view.clone(), &meter);
        let (events, heard) = ModelEvents::new(room);
        let running = {
            let (nodes, shutdown) = (nodes.clone(), shutdown.clone());
            tokio::spawn(async move { nodes.run(events, shutdown).await })
        };
        let routing = Self { nodes, membership_view, meter, events: heard, shutdown, running };
        routing.publish(&[node_member(NODE, at)]);
        routing
    }

    fn publish(&self, nodes: &[Member]) {
        let router = router_member(9, "127.0.0.1:1".parse().unwrap(), &[], 1);
        self.membership_view.publish([&[router], nodes].concat());
    }

    async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.unwrap()
    }

    /// Delivers a message once the node takes it.
    async fn deliver(&self, to: SessionRef, message: &Arc<Message>) {
        soon(async {
            while self.nodes.deliver(to, message) == Err(NotDelivered::NotHere) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn streams(&self) -> bool {
        self.meter.render().contains("pushgrid_link_node_streams 1")
    }
}

const NODE: u64 = 5;
const ROUTER: NodeId = NodeId(9);

fn config() -> NodesConfig {
    NodesConfig { node_timeout: Duration::from_secs(15), ..NodesConfig::default() }
}

fn impatient() -> NodesConfig {
    NodesConfig { node_timeout: Duration::from_millis(800), ..NodesConfig::default() }
}

/// Stream whose greeting was read and answered.
async fn greeted(talks: &mut mpsc::Receiver<Talk>) -> Talk {
    let mut talk = soon(talks.recv()).await.unwrap();
    assert!(matches!(talk.hear().await, Frame::Hello(wire::Hello { node: NODE, router: 9 })));
    talk
}

/// The labels of the messages of a batch, in order.
fn labels(batch: &wire::Batch) -> Vec<u64> {
    batch.deliveries.iter().map(|delivery| delivery.message.as_ref().unwrap().sequence).collect()
}

#[tokio::test]
async fn messages_and_evictions_reach_the_sessions_in_order() {
    let (node, mut told) = ModelNode::new(NODE);
    let (address, _serving) = node.serve().await;
    let routing = Routing::new(config(), address);
    let messages: Vec<_> = (0..1000).map(|label| message(user_agent(1), label, 100)).collect();
    for (label, message) in (0..).zip(&messages) {
        routing.deliver(session(NODE, label % 3), message).await;
    }
    for (label, message) in (0..).zip(&messages) {
        let expected = Told::Message(session(NODE, label % 3), Arc::clone(message));
        assert_eq!(soon(told.recv()).await.unwrap(), expected);
    }
    for why in [Eviction::Superseded, Eviction::Resync] {
        routing.nodes.evict(session(NODE, 2), why);
        assert_eq!(soon(told.recv()).await.unwrap(), Told::Evict(session(NODE, 2), why));
    }
    assert!(routing.streams());
}

#[tokio::test]
async fn when_it_has_ended_no_node_is_here() {
    let (node, mut told) = ModelNode::new(NODE);
    let (address, _serving) = node.serve().await;
    let routing = Routing::new(config(), address);
    let message = message(user_agent(1), 1, 1);
    routing.deliver(session(NODE, 1), &message).await;
    soon(told.recv()).await.unwrap();
    routing.shutdown.drain();
    soon(routing.running).await.unwrap();
    for node in [NODE, 6] {
        assert_eq!(routing.nodes.deliver(session(node, 1), &message), Err(NotDelivered::NotHere));
        routing.nodes.heard_from(NodeId(node));
        assert_eq!(routing.nodes.deliver(session(node, 1), &message), Err(NotDelivered::NotHere));
    }
    assert!(routing.meter.render().contains("pushgrid_link_node_streams 0"));
}

#[tokio::test]
async fn sessions_of_the_partitions_that_a_router_owns_and_gains_are_announced() {
    let (node, _told) = ModelNode::new(NODE);
    let (address, _serving) = node.serve().await;
    // Two partitions, and somebody in each.
    let of = |partition| {
        (0..=255).map(user_agent).find(|id| Partition::of(*id, 2) == Partition(partition)).unwrap()
    };
    let mut first: Vec<_> = (0..2500).map(|number| node.holds(of(0), number, number + 7)).collect();
    let second = vec![node.holds(of(1), 9000, 1)];

    let (meter, shutdown) = (Meter::new(), Shutdown::new());
    let membership_view = MembershipView::new(&meter);
    let this = router_member(9, "127.0.0.1:1".parse().unwrap(), &[], 2);
    membership_view.publish(vec![this, node_member(NODE, address)]);
    let nodes = Nodes::new(config(), ROUTER, membership_view, &meter);
    let (events, mut heard) = ModelEvents::new(16);
    nodes.gained(Partition(0));
    nodes.gained(Partition(1));
    nodes.lost(Partition(1));
    let running = nodes.clone();
    tokio::spawn(async move { running.run(events, shutdown).await });

    while !first.is_empty() {
        let Some(Event::Announced(held)) = soon(heard.recv()).await else { panic!("not announced") };
        assert!(held.len() <= 1000);
        assert_eq!(first.drain(..held.len()).collect::<Vec<_>>(), held);
    }
    nodes.gained(Partition(1));
    assert_eq!(soon(heard.recv()).await.unwrap(), Event::Announced(second));
}

#[tokio::test]
async fn what_a_session_does_not_take_is_reported_and_a_full_one_is_evicted() {
    let (node, mut told) = ModelNode::new(NODE);
    node.refuses.lock().extend([(SessionId(1), NotDelivered::NotHere), (SessionId(2), NotDelivered::Busy)]);
    let (address, _serving) = node.serve().await;
    let mut routing = Routing::new(config(), address);
    routing.deliver(session(NODE, 1), &message(user_agent(1), 1, 1)).await;
    assert_eq!(routing.event().await, Event::Refused(user_agent(1), session(NODE, 1)));
    routing.deliver(session(NODE, 2), &message(user_agent(2), 2, 1)).await;
    assert_eq!(routing.event().await, Event::Refused(user_agent(2), session(NODE, 2)));
    assert_eq!(soon(told.recv()).await.unwrap(), Told::Evict(session(NODE, 2), Eviction::Resync));
    let taken = message(user_agent(3), 3, 1);
    routing.deliver(session(NODE, 3), &taken).await;
    assert_eq!(soon(told.recv()).await.unwrap(), Told::Message(session(NODE, 3), taken));
}

#[tokio::test]
async fn a_node_that_takes_nothing_costs_a_bounded_queue() {
    let (address, mut talks, _end) = Scripted::serve().await;
    let bounds = NodesConfig {
        queue_messages: 10,
        queue_octets: 1 << 20,
        frame_messages: 2,
        in_flight: 3,
        ..config()
    };
    let routing = Routing::new(bounds, address);
    let mut talk = greeted(&mut talks).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 0, 100)).await;
    for label in 1..10 {
        assert_eq!(routing.nodes.deliver(session(NODE, 1), &message(user_agent(1), label, 100)), Ok(()));
    }
    let more = message(user_agent(1), 10, 100);
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &more), Err(NotDelivered::Busy));

    // Three frames are in flight, and the rest waits for an acknowledgement.
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(talk.batch().await);
    }
    assert!(frames.iter().all(|frame| frame.deliveries.len() <= 2));
    assert_eq!(
        frames.iter().flat_map(labels).collect::<Vec<_>>(),
        (0..frames.iter().flat_map(labels).count() as u64).collect::<Vec<_>>()
    );
    talk.take(frames[0].number).await;
    let next = talk.batch().await;
    assert_eq!(next.number, frames[2].number + 1);
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &more), Ok(()));

    let big = message(user_agent(1), 11, 1 << 20);
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &big), Err(NotDelivered::Busy), "octets count too");
}

#[tokio::test]
async fn what_was_not_answered_comes_again_in_order_on_the_next_stream() {
    let (address, mut talks, _end) = Scripted::serve().await;
    let mut routing = Routing::new(config(), address);
    let mut talk = greeted(&mut talks).await;
    let mut frames = Vec::new();
    for label in 0..3 {
        routing.deliver(session(NODE, 1), &message(user_agent(1), label, 100)).await;
        frames.push(talk.batch().await);
    }
    routing.nodes.gained(Partition(0));
    assert!(matches!(talk.hear().await, Frame::Announce(_)));
    talk.take(frames[0].number).await;
    // A frame that shows that the acknowledgement was read.
    routing.nodes.evict(session(NODE, 8), Eviction::Superseded);
    frames.push(talk.batch().await);
    let refused = wire::Refused { user_agent: vec![4; 16].into(), session: 8 };
    let answer = wire::NodeFrame { refused: vec![refused], ..wire::NodeFrame::default() };
    talk.answers.send(Ok(answer)).await.unwrap();
    assert_eq!(routing.event().await, Event::Refused(user_agent(4), session(NODE, 8)));
    drop(talk);

    let mut talk = greeted(&mut talks).await;
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &message(user_agent(1), 3, 100)), Ok(()));
    let Frame::Announce(announce) = talk.hear().await else { panic!("what is owned is asked for first") };
    assert_eq!((announce.partitions, announce.of), (vec![0], 1));
    for frame in &frames[1..] {
        let again = talk.batch().await;
        assert!(again == *frame, "frame {} is not frame {}", again.number, frame.number);
    }
    assert_eq!(labels(&talk.batch().await), [3]);
    routing.events.try_recv().unwrap_err();
}

#[tokio::test]
async fn a_node_that_reads_but_never_answers_is_given_up() {
    let (address, mut talks, _end) = Scripted::serve().await;
    let mut routing = Routing::new(impatient(), address);
    let mut talk = greeted(&mut talks).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 1, 100)).await;
    let number = talk.batch().await.number;
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    // A new stream is made, without the messages that were given up.
    let mut talk = greeted(&mut talks).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 2, 100)).await;
    let batch = talk.batch().await;
    assert_eq!((labels(&batch), batch.number), (vec![2], number + 1));
    assert!(routing.meter.render().contains("given_up_total{reason=\"silent\"} 1"));
}

#[tokio::test]
async fn a_node_that_does_not_even_read_is_given_up() {
    let (address, mut talks, _end) = Scripted::serve().await;
    let mut routing = Routing::new(impatient(), address);
    let _talk = greeted(&mut talks).await;
    // More than fits the buffers of two sockets.
    let mut label = 0;
    routing.deliver(session(NODE, 1), &message(user_agent(1), label, 1 << 20)).await;
    while routing.nodes.deliver(session(NODE, 1), &message(user_agent(1), label, 1 << 20)) == Ok(()) {
        label += 1;
    }
    assert!(label <= 64, "{label} MiB were taken");
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
}

/// Router with a node that has gone and left a message in flight, and the listener of that node.
async fn left_behind(config: NodesConfig) -> (Routing, TcpListener) {
    let (listener, address) = listener().await;
    let (first, second) = again(listener);
    let (mut talks, end) = Scripted::serve_at(first);
    let routing = Routing::new(config, address);
    let talk = greeted(&mut talks).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 1, 100)).await;
    drop((talk, end, talks));
    (routing, second)
}

#[tokio::test]
async fn a_node_that_does_not_come_back_is_given_up() {
    let (mut routing, place) = left_behind(impatient()).await;
    let _nobody = hang_up(place);
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    let more = message(user_agent(1), 2, 100);
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &more), Err(NotDelivered::NotHere));
    assert!(routing.meter.render().contains("given_up_total{reason=\"unreachable\"} 1"));
}

#[tokio::test]
async fn another_node_at_the_same_address_gets_nothing_that_was_not_meant_for_it() {
    let (mut routing, place) = left_behind(config()).await;
    let (node, mut told) = ModelNode::new(NODE + 1);
    let _serving = node.serve_at(place);
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    assert!(routing.meter.render().contains("given_up_total{reason=\"stranger\"} 1"));
    told.try_recv().unwrap_err();
}

#[tokio::test]
async fn a_member_that_leaves_is_gone_and_may_come_back() {
    let (node, mut told) = ModelNode::new(NODE);
    let (address, _serving) = node.serve().await;
    let mut routing = Routing::new(config(), address);
    let first = message(user_agent(1), 1, 100);
    routing.deliver(session(NODE, 1), &first).await;
    assert_eq!(soon(told.recv()).await.unwrap(), Told::Message(session(NODE, 1), first.clone()));
    routing.publish(&[]);
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    assert_eq!(routing.nodes.deliver(session(NODE, 1), &first), Err(NotDelivered::NotHere));
    routing.publish(&[node_member(NODE, address)]);
    routing.deliver(session(NODE, 1), &first).await;
    assert_eq!(soon(told.recv()).await.unwrap(), Told::Message(session(NODE, 1), first));
}

#[tokio::test]
async fn a_router_that_does_not_listen_slows_the_node_and_loses_nothing() {
    let (node, _told) = ModelNode::new(NODE);
    node.refuses.lock().insert(SessionId(1), NotDelivered::NotHere);
    let (address, _serving) = node.serve().await;
    let bounds = NodesConfig { queue_messages: 100, frame_messages: 1, in_flight: 1, ..impatient() };
    let mut routing = Routing::hearing(bounds, address, 1);
    let refused = message(user_agent(1), 1, 1);
    routing.deliver(session(NODE, 1), &refused).await;
    let mut taken = 1;
    // Until every queue in between is full, beyond the node's deadline.
    let until = tokio::time::Instant::now() + impatient().node_timeout * 3;
    while tokio::time::Instant::now() < until {
        match routing.nodes.deliver(session(NODE, 1), &refused) {
            Ok(()) => taken += 1,
            Err(NotDelivered::Busy) => tokio::task::yield_now().await,
            Err(NotDelivered::NotHere) => panic!("it was given up"),
        }
    }
    for _ in 0..taken {
        assert_eq!(routing.event().await, Event::Refused(user_agent(1), session(NODE, 1)));
    }
}

#[tokio::test]
async fn what_a_node_could_not_say_because_the_router_did_not_listen_is_not_held_against_it() {
    const SAID: u64 = 40;
    let (address, mut talks, _end) = Scripted::serve().await;
    let mut routing = Routing::hearing(impatient(), address, 1);
    let mut talk = greeted(&mut talks).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 1, 1)).await;
    let number = talk.batch().await.number;
    // More than the queues in between take.
    for session in 0..SAID {
        let held = vec![wire::Held { user_agent: vec![3; 16].into(), epoch: 1, session, min_urgency: 0 }];
        talk.answers.send(Ok(wire::NodeFrame { held, ..wire::NodeFrame::default() })).await.unwrap();
    }
    tokio::time::sleep(impatient().node_timeout * 2).await;
    for said in 0..SAID {
        let Event::Announced(held) = routing.event().await else { panic!("it was given up") };
        assert_eq!(held[0].claim.session, session(NODE, said));
    }
    talk.take(number).await;
    routing.deliver(session(NODE, 1), &message(user_agent(1), 2, 1)).await;
    assert_eq!(labels(&talk.batch().await), [2]);
    routing.events.try_recv().unwrap_err();
}
