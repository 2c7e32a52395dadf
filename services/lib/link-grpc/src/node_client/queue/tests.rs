//! The send queue without a network: packing, wake-ups, reconnection, bounds and deadlines.

use std::time::Duration;

use futures_util::task::noop_waker;

use super::*;
use crate::testing::{message, user_agent};

fn config() -> NodesConfig {
    NodesConfig { frame_messages: 3, in_flight: 2, queue_messages: 20, ..NodesConfig::default() }
}

fn open() -> (Queue, u64) {
    let mut queue = Queue::default();
    let (stream, _) = queue.begin(BTreeSet::new());
    queue.open();
    assert_eq!(next(&mut queue, stream), Next::Hello);
    (queue, stream)
}

fn next(queue: &mut Queue, stream: u64) -> Next {
    queue.next(stream, &config(), Instant::now(), &noop_waker())
}

fn deliver(queue: &mut Queue, label: u32) -> Result<bool, NotDelivered> {
    let woken = queue.deliver(SessionId(1), &message(user_agent(1), label, 10), &config());
    woken.map(|writer| writer.is_some())
}

fn work(queue: &mut Queue, stream: u64) -> (u64, Vec<u64>) {
    let Next::Work(work) = next(queue, stream) else { panic!("no work") };
    (work.number, work.deliveries.iter().map(|(_, message)| message.sequence.0).collect())
}

#[test]
fn what_waits_is_packed_and_only_a_writer_that_waits_is_woken() {
    let (mut queue, stream) = open();
    assert_eq!(next(&mut queue, stream), Next::Wait);
    let woken: Vec<bool> = (0..4).map(|label| deliver(&mut queue, label).unwrap()).collect();
    assert_eq!(woken, [true, false, false, false]);
    assert_eq!(work(&mut queue, stream), (1, vec![0, 1, 2]));
    assert_eq!(work(&mut queue, stream), (2, vec![3]));
    deliver(&mut queue, 4).unwrap();
    assert_eq!(next(&mut queue, stream), Next::Wait, "so many are on their way");
    assert!(queue.taken(1, Instant::now()).unwrap().is_some(), "there is room again");
    assert_eq!(work(&mut queue, stream), (3, vec![4]));
}

#[test]
fn a_frame_takes_no_more_octets_than_it_may_but_always_a_message() {
    let mut queue = Queue::default();
    let (stream, _) = queue.begin(BTreeSet::new());
    queue.open();
    let config = NodesConfig { frame_octets: 2500, ..config() };
    for (label, body) in [(0, 9000), (1, 800), (2, 800), (3, 800)] {
        queue.deliver(SessionId(1), &message(user_agent(1), label, body), &config).unwrap();
    }
    let mut counts = Vec::new();
    queue.next(stream, &config, Instant::now(), &noop_waker());
    while let Next::Work(work) = queue.next(stream, &config, Instant::now(), &noop_waker()) {
        counts.push(work.deliveries.len());
        queue.taken(work.number, Instant::now()).unwrap();
    }
    assert_eq!(counts, [1, 2, 1]);
}

#[test]
fn a_new_stream_begins_with_what_is_owned_and_all_that_was_not_answered() {
    let (mut queue, first) = open();
    (0..8).for_each(|label| assert!(deliver(&mut queue, label).is_ok()));
    let sent = [work(&mut queue, first), work(&mut queue, first)];
    let (second, _) = queue.begin(BTreeSet::from([Partition(3)]));
    assert_eq!(next(&mut queue, first), Next::End);
    assert_eq!(queue.taken(1, Instant::now()).unwrap_err(), NotSent, "it was not sent on this stream");
    assert_eq!(next(&mut queue, second), Next::Hello);
    assert_eq!(next(&mut queue, second), Next::Announce(vec![Partition(3)]));
    assert_eq!([work(&mut queue, second), work(&mut queue, second)], sent);
    assert_eq!(next(&mut queue, second), Next::Wait);
    queue.taken(2, Instant::now()).unwrap();
    assert_eq!(work(&mut queue, second), (3, vec![6, 7]));
}

#[test]
fn the_bound_counts_what_waits_and_what_is_not_answered() {
    let (mut queue, stream) = open();
    (0..20).for_each(|label| assert!(deliver(&mut queue, label).is_ok()));
    assert_eq!(deliver(&mut queue, 20), Err(NotDelivered::Busy));
    assert_eq!(work(&mut queue, stream).1.len(), 3);
    assert_eq!(deliver(&mut queue, 20), Err(NotDelivered::Busy));
    queue.taken(1, Instant::now()).unwrap();
    (20..23).for_each(|label| assert!(deliver(&mut queue, label).is_ok()));
    assert_eq!(deliver(&mut queue, 23), Err(NotDelivered::Busy));
    queue.close();
    assert_eq!(deliver(&mut queue, 24), Err(NotDelivered::NotHere));
    assert!(queue.open() && !queue.open(), "it opens once");
    assert!(deliver(&mut queue, 25).is_ok());
    queue.end();
    assert!(!queue.open());
    queue.close();
    assert!(!queue.open(), "after the end it never opens again");
    assert_eq!(deliver(&mut queue, 26), Err(NotDelivered::NotHere));
}

#[test]
fn a_node_is_overdue_when_it_takes_nothing_for_too_long() {
    let (mut queue, stream) = open();
    let (begun, config) = (Instant::now(), config());
    let after = |seconds| begun + Duration::from_secs(seconds);
    assert!(!queue.is_overdue(&config, after(100)), "it has nothing to take");
    (0..6).for_each(|label| assert!(deliver(&mut queue, label).is_ok()));
    queue.next(stream, &config, after(1), &noop_waker());
    queue.next(stream, &config, after(2), &noop_waker());
    assert!(!queue.is_overdue(&config, after(5)));
    assert!(queue.is_overdue(&config, after(6)));
    queue.taken(1, after(5)).unwrap();
    assert!(!queue.is_overdue(&config, after(9)), "it has just taken something");
    assert!(queue.is_overdue(&config, after(10)));
    queue.excuse(after(9));
    assert!(!queue.is_overdue(&config, after(10)));
    queue.taken(2, after(10)).unwrap();
    assert!(!queue.is_overdue(&config, after(100)));
}

#[test]
fn more_evictions_than_sessions_are_noticed() {
    let (mut queue, _) = open();
    (0..EVICTIONS as u64).for_each(|session| drop(queue.evict(SessionId(session), Eviction::Resync)));
    assert!(!queue.is_overflown());
    queue.evict(SessionId(0), Eviction::Resync);
    assert!(queue.is_overflown());
    queue.close();
    assert!(!queue.is_overflown());
}

#[test]
fn a_partition_that_is_lost_is_not_asked_for() {
    let (mut queue, stream) = open();
    queue.announce(Partition(1));
    queue.announce(Partition(2));
    queue.announce_no_more(Partition(1));
    assert_eq!(next(&mut queue, stream), Next::Announce(vec![Partition(2)]));
}
