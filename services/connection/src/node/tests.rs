use std::collections::BTreeSet;

use pushgrid_types::{ChannelId, Epoch, SystemRng, UserAgentId};

use super::*;
use crate::testing::message;

const QUEUE: Limits = Limits { messages: 2, octets: 1 << 20 };

fn letter() -> Arc<Message> {
    Arc::new(message(UserAgentId::from_octets([1; 16]), ChannelId::from_octets([2; 16]), b"body"))
}

#[test]
fn a_message_reaches_the_session_that_is_there_and_no_other() {
    let (node, other) = (Node::new(&SystemRng, QUEUE), Node::new(&SystemRng, QUEUE));
    let seat = node.enter().unwrap();
    assert_eq!(node.deliver(seat.session(), &letter()), Ok(()));
    assert!(seat.outbox.has_pending());

    assert_eq!(other.deliver(seat.session(), &letter()), Err(NotDelivered::NotHere));
    let nobody = SessionRef { session: SessionId(99), ..seat.session() };
    assert_eq!(node.deliver(nobody, &letter()), Err(NotDelivered::NotHere));
    let session = seat.session();
    drop(seat);
    assert_eq!(node.deliver(session, &letter()), Err(NotDelivered::NotHere));
    assert_eq!(node.sessions(), 0);
}

#[test]
fn a_full_outbox_is_busy_until_something_is_settled() {
    let node = Node::new(&SystemRng, QUEUE);
    let seat = node.enter().unwrap();
    let first = letter();
    node.deliver(seat.session(), &first).unwrap();
    node.deliver(seat.session(), &letter()).unwrap();
    assert_eq!(node.deliver(seat.session(), &letter()), Err(NotDelivered::Busy));
    seat.outbox.next(crate::testing::NOW);
    assert_eq!(node.deliver(seat.session(), &letter()), Err(NotDelivered::Busy), "on the wire is still owed");
    assert!(seat.outbox.settle(first.id));
    assert_eq!(node.deliver(seat.session(), &letter()), Ok(()));
}

#[test]
fn an_evicted_or_closed_session_takes_nothing_any_more() {
    let node = Node::new(&SystemRng, QUEUE);
    let (evicted, closed) = (node.enter().unwrap(), node.enter().unwrap());
    node.evict(evicted.session(), Eviction::Superseded);
    assert_eq!(evicted.outbox.ending(), Some(Ending::Superseded));
    assert_eq!(node.deliver(evicted.session(), &letter()), Err(NotDelivered::NotHere));
    closed.outbox.close();
    assert_eq!(node.deliver(closed.session(), &letter()), Err(NotDelivered::NotHere));
}

#[test]
fn the_stronger_reason_to_end_wins() {
    let node = Node::new(&SystemRng, QUEUE);
    let seat = node.enter().unwrap();
    node.evict(seat.session(), Eviction::Superseded);
    seat.outbox.end(Ending::Draining);
    assert_eq!(seat.outbox.ending(), Some(Ending::Superseded));
    seat.outbox.end(Ending::Abandoned);
    assert_eq!(seat.outbox.ending(), Some(Ending::Abandoned));
}

#[test]
fn closed_doors_let_nobody_in_and_name_everybody_inside() {
    let node = Node::new(&SystemRng, QUEUE);
    let seats: Vec<_> = (0..100).map(|_| node.enter().unwrap()).collect();
    let ids: BTreeSet<_> = seats.iter().map(|seat| seat.session().session).collect();
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
    first.outbox.opened(one, Epoch(7));
    second.outbox.opened(two, Epoch(8));
    let held = |wanted| node.held(&|user_agent| user_agent == wanted);
    let claim = Claim { epoch: Epoch(7), session: first.session() };
    assert_eq!(held(one), [Held { user_agent: one, claim }]);
    assert_eq!(node.held(&|_| true).len(), 2);
    second.outbox.end(Ending::Superseded);
    assert_eq!(held(two), [], "one that is about to end is not held any more");
    drop((first, not_open));
    assert_eq!(held(one), []);
}
