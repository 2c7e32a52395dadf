//! Nodes out of reach so far, and departed nodes that seem to be.

use super::*;

/// Router whose stream does not stand yet: the first calls come before any task has run.
async fn waiting(config: NodesConfig) -> (Routing, TcpListener) {
    let (listener, address) = listener().await;
    (Routing::new(config, address), listener)
}

fn deliver(routing: &Routing, node: u64, label: u32) -> Result<(), NotDelivered> {
    routing.nodes.deliver(session(node, 1), &message(user_agent(1), label, 100))
}

/// Expects these messages in order and then an eviction, all in one frame.
async fn told_in_order(told: &mut mpsc::Receiver<Told>, labels: std::ops::Range<u32>) {
    for label in labels {
        let expected = Told::Message(session(NODE, 1), message(user_agent(1), label, 100));
        assert_eq!(soon(told.recv()).await.unwrap(), expected);
    }
    let evicted = Told::Evict(session(NODE, 2), Eviction::Superseded);
    assert_eq!(soon(told.recv()).await.unwrap(), evicted);
}

#[tokio::test]
async fn what_is_for_a_member_without_a_stream_waits_for_it() {
    let (mut routing, listener) = waiting(config()).await;
    (0..250).for_each(|label| assert_eq!(deliver(&routing, NODE, label), Ok(())));
    routing.nodes.evict(session(NODE, 2), Eviction::Superseded);
    let (node, mut told) = ModelNode::new(NODE);
    let _serving = node.serve_at(listener);
    told_in_order(&mut told, 0..250).await;
    routing.events.try_recv().unwrap_err();
}

#[tokio::test]
async fn what_is_for_a_node_that_has_called_waits_until_the_members_show_it() {
    let (node, mut told) = ModelNode::new(NODE);
    let (address, _serving) = node.serve().await;
    let mut routing = Routing::new(config(), address);
    routing.publish(&[]);
    routing.nodes.heard_from(NodeId(NODE));
    (0..125).for_each(|label| assert_eq!(deliver(&routing, NODE, label), Ok(())));
    // The node's task has started, and has found no member.
    tokio::task::yield_now().await;
    (125..250).for_each(|label| assert_eq!(deliver(&routing, NODE, label), Ok(())));
    routing.nodes.evict(session(NODE, 2), Eviction::Superseded);
    routing.publish(&[node_member(NODE, address)]);
    told_in_order(&mut told, 0..250).await;
    routing.events.try_recv().unwrap_err();
}

#[tokio::test]
async fn a_node_that_no_list_of_members_shows_is_gone_in_time_and_not_waited_for_again() {
    let (mut routing, _listener) = waiting(impatient()).await;
    routing.publish(&[]);
    assert_eq!(deliver(&routing, NODE, 1), Ok(()));
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    assert!(routing.meter.render().contains("given_up_total{reason=\"absent\"} 1"));
    for _ in 0..3 {
        assert_eq!(deliver(&routing, NODE, 2), Err(NotDelivered::NotHere));
        tokio::task::yield_now().await;
    }
    // A call of the node proves that it is alive.
    routing.nodes.heard_from(NodeId(NODE));
    assert_eq!(deliver(&routing, NODE, 3), Ok(()));
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
}

#[tokio::test]
async fn a_member_that_cannot_be_reached_is_given_up_in_time_and_tried_again_when_it_calls() {
    let (listener, address) = listener().await;
    let (first, second) = again(listener);
    let mut routing = Routing::new(impatient(), address);
    let nobody = hang_up(first);
    assert_eq!(deliver(&routing, NODE, 1), Ok(()));
    assert_eq!(routing.event().await, Event::Gone(NodeId(NODE)));
    assert_eq!(deliver(&routing, NODE, 2), Err(NotDelivered::NotHere));
    drop(nobody);
    routing.nodes.heard_from(NodeId(NODE));
    assert_eq!(deliver(&routing, NODE, 3), Ok(()));
    routing.nodes.evict(session(NODE, 2), Eviction::Superseded);
    let (node, mut told) = ModelNode::new(NODE);
    let _serving = node.serve_at(second);
    told_in_order(&mut told, 3..4).await;
}

#[tokio::test]
async fn what_waits_for_a_node_that_cannot_be_reached_is_bounded() {
    let (routing, _listener) = waiting(NodesConfig { queue_messages: 10, ..config() }).await;
    (0..10).for_each(|label| assert_eq!(deliver(&routing, NODE, label), Ok(())));
    assert_eq!(deliver(&routing, NODE, 10), Err(NotDelivered::Busy));
    // So are the nodes that may be waited for.
    let waited = (100..1000).filter(|node| deliver(&routing, *node, 0) == Ok(())).count();
    assert_eq!(waited, 255, "they are {waited}, and the one that nobody has looked at yet");
}
