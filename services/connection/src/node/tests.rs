use std::collections::BTreeSet;

use pushgrid_types::{ChannelId, Epoch, SystemRng, Urgency, UserAgentId};

use super::*;
use crate::testing::message;

const QUEUE: Limits = Limits { messages: 2, octets: 1 << 20 };

fn letter() -> Arc<Message> {
    Arc::new(message(UserAgentId::from_octets([1; 16]), ChannelId::from_octets([2; 16]), b"body"))
}

#[test]
fn a_message_reaches_the_session_that_is_there_and_no_other() {
    let (node, other) = (Node::new(&SystemRng, QUEUE), Node::new(&SystemRng, QUEUE));
    let slot = node.enter().unwrap();
    assert_eq!(node.deliver(slot.session(), &letter()), Ok(()));
    assert!(slot.queue.has_pending());

    assert_eq!(other.deliver(slot.session(), &letter()), Err(NotDelivered::NotHere));
    let nobody = SessionRef { session: SessionId(99), ..slot.session() };
    assert_eq!(node.deliver(nobody, &letter()), Err(NotDelivered::NotHere));
    let session = slot.session();
    drop(slot);
    assert_eq!(node.deliver(session, &letter()), Err(NotDelivered::NotHere));
    assert_eq!(node.sessions(), 0);
}

#[test]
fn a_full_send_queue_is_busy_until_something_is_settled() {
    let node = Node::new(&SystemRng, QUEUE);
    let slot = node.enter().unwrap();
    let first = letter();
    node.deliver(slot.session(), &first).unwrap();
    node.deliver(slot.session(), &letter()).unwrap();
    assert_eq!(node.deliver(slot.session(), &letter()), Err(NotDelivered::Busy));
    slot.queue.next(crate::testing::NOW);
    assert_eq!(node.deliver(slot.session(), &letter()), Err(NotDelivered::Busy), "on the wire is still owed");
    assert!(slot.queue.settle(first.id).is_some());
    assert_eq!(node.deliver(slot.session(), &letter()), Ok(()));
}

#[test]
fn an_evicted_or_closed_session_takes_nothing_any_more() {
    let node = Node::new(&SystemRng, QUEUE);
    let (evicted, closed) = (node.enter().unwrap(), node.enter().unwrap());
    node.evict(evicted.session(), Eviction::Superseded);
    assert_eq!(evicted.queue.ending(), Some(Ending::Superseded));
    assert_eq!(node.deliver(evicted.session(), &letter()), Err(NotDelivered::NotHere));
    closed.queue.close();
    assert_eq!(node.deliver(closed.session(), &letter()), Err(NotDelivered::NotHere));
}

#[test]
fn the_stronger_reason_to_end_wins() {
    let node = Node::new(&SystemRng, QUEUE);
    let slot = node.enter().unwrap();
    node.evict(slot.session(), Eviction::Superseded);
    slot.queue.end(Ending::Draining);
    assert_eq!(slot.queue.ending(), Some(Ending::Superseded));
    slot.queue.end(Ending::Abandoned);
    assert_eq!(slot.queue.ending(), Some(Ending::Abandoned));
}

#[test]
fn closed_doors_let_nobody_in_and_name_everybody_inside() {
    let node = Node::new(&SystemRng, QUEUE);
    let slots: Vec<_> = (0..100).map(|_| node.enter().unwrap()).collect();
    let ids: BTreeSet<_> = slots.iter().map(|slot| slot.session().session).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(node.close_doors().len(), 100);
    assert!(node.enter().is_none());
    assert_eq!(node.sessions(), 100);
}

#[test]
fn a_node_names_the_sessions_that_are_open_at_the_router_and_no_others() {
    let node = Node::new(&SystemRng, QUEUE);
    let (one, two) = (UserAgentId::from_octets([1; 16]), UserAgentId::from_octets([2; 16]));
    let (first, second, not_open) = (node.enter().unwrap(), node.enter().unwrap(), node.enter().unwrap());
    first.queue.opened(one, Epoch(7), Urgency::Low);
    second.queue.opened(two, Epoch(8), Urgency::LEAST);
    let held = |wanted| node.held(&|user_agent| user_agent == wanted);
    let claim = Claim { epoch: Epoch(7), session: first.session() };
    assert_eq!(held(one), [Held { user_agent: one, claim, min_urgency: Urgency::Low }]);
    assert_eq!(node.held(&|_| true).len(), 2);
    second.queue.end(Ending::Superseded);
    assert_eq!(held(two), [], "one that is about to end is not held any more");
    drop((first, not_open));
    assert_eq!(held(one), []);
}
