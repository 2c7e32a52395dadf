//! Tested: order, bounds and expiry, and that every offered message ends exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use pushgrid_types::{ChannelId, Content, Incarnation, Sequence, SubscriptionRef, Ttl, Urgency, UserAgentId};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const WIDE: Limits = Limits { messages: 256, octets: 4 << 20 };

fn message(id: u8, octets: usize, ttl: u32) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::from_octets([id; 16]),
        to: SubscriptionRef {
            user_agent: UserAgentId::from_octets([1; 16]),
            channel: ChannelId::from_octets([2; 16]),
            incarnation: Incarnation::from_octets([3; 12]),
        },
        sequence: Sequence(u64::from(id)),
        accepted_at: NOW,
        ttl: Ttl::from_secs(ttl),
        expires_at: NOW.plus(Duration::from_secs(u64::from(ttl))),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: Bytes::from(vec![0; octets]), ..Content::default() },
    })
}

fn id(id: u8) -> MessageId {
    MessageId::from_octets([id; 16])
}

fn send(session: &mut Session) -> Option<(u64, MessageId)> {
    match session.next(NOW)? {
        Next::Send { position, message } => Some((position, message.id)),
        Next::Expired(message) => panic!("{:?} is not expired", message.id),
    }
}

#[test]
fn messages_are_sent_in_order_at_rising_positions() {
    let mut session = Session::new(WIDE);
    for number in 1..=3 {
        session.offer(message(number, 10, 60)).unwrap();
    }
    assert_eq!(send(&mut session), Some((1, id(1))));
    assert_eq!(send(&mut session), Some((2, id(2))));
    assert_eq!(send(&mut session), Some((3, id(3))));
    assert_eq!(send(&mut session), None);
    assert_eq!((session.in_flight(), session.has_pending()), (3, false));
}

#[test]
fn an_id_is_settled_once_and_then_unknown() {
    let mut session = Session::new(WIDE);
    session.offer(message(1, 10, 60)).unwrap();
    send(&mut session);
    assert!(session.settle(id(1)).is_some());
    assert!(session.settle(id(1)).is_none());
    assert!(session.settle(id(9)).is_none());
    assert_eq!((session.len(), session.octets()), (0, 0));
}

#[test]
fn an_acknowledgement_of_a_pending_message_keeps_it_off_the_wire() {
    let mut session = Session::new(WIDE);
    session.offer(message(1, 10, 60)).unwrap();
    assert!(session.settle(id(1)).is_some());
    assert!(session.next(NOW).is_none());
}

#[test]
fn a_position_settles_everything_up_to_it() {
    let mut session = Session::new(WIDE);
    for number in 1..=4 {
        session.offer(message(number, 10, 60)).unwrap();
        send(&mut session);
    }
    session.settle(id(2));
    let ended: Vec<_> = session.settle_through(3).iter().map(|message| message.id).collect();
    assert_eq!(ended, [id(1), id(3)]);
    assert!(session.settle_through(3).is_empty());
    assert_eq!(session.len(), 1);
}

#[test]
fn a_message_that_is_owed_already_is_taken_once() {
    let mut session = Session::new(WIDE);
    session.offer(message(1, 10, 60)).unwrap();
    session.offer(message(1, 10, 60)).unwrap();
    send(&mut session);
    session.offer(message(1, 10, 60)).unwrap();
    assert_eq!(session.len(), 1);
    assert!(session.next(NOW).is_none());
}

// Holds: A-57.
#[test]
fn an_expired_message_is_never_sent() {
    let mut session = Session::new(WIDE);
    session.offer(message(1, 10, 60)).unwrap();
    let later = NOW.plus(Duration::from_mins(1));
    assert!(matches!(session.next(later), Some(Next::Expired(message)) if message.id == id(1)));
    assert!(session.is_empty());
    assert_eq!(session.octets(), 0);
}

#[test]
fn the_bounds_hold_for_count_and_octets() {
    let mut session = Session::new(Limits { messages: 2, octets: 1 << 20 });
    session.offer(message(1, 10, 60)).unwrap();
    send(&mut session);
    session.offer(message(2, 10, 60)).unwrap();
    let Full(back) = session.offer(message(3, 10, 60)).unwrap_err();
    assert_eq!(back.id, id(3));

    let mut session = Session::new(Limits { messages: 9, octets: 1000 });
    session.offer(message(1, 5000, 60)).expect("a single message is always taken");
    session.offer(message(2, 0, 60)).unwrap_err();
}

#[test]
fn an_idle_session_is_small_and_holds_no_burst() {
    assert!(size_of::<Session>() <= 104, "{} octets", size_of::<Session>());
    let mut session = Session::new(WIDE);
    for number in 0..100 {
        session.offer(message(number, 10, 60)).unwrap();
        send(&mut session);
    }
    session.settle_through(u64::MAX);
    assert!(session.pending.capacity() + session.in_flight.capacity() <= 2 * KEPT_ROOM);
}

#[derive(Debug, Clone)]
enum Step {
    Offer { id: u8, octets: usize, ttl: u32 },
    Send { after: u64 },
    Settle(u8),
    SettleThrough(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..40, 0usize..3000, 0u32..20).prop_map(|(id, octets, ttl)| Step::Offer { id, octets, ttl }),
        (0u64..20).prop_map(|after| Step::Send { after }),
        (0u8..40).prop_map(Step::Settle),
        (0u64..40).prop_map(Step::SettleThrough),
    ]
}

proptest! {
    #[test]
    fn every_offered_message_ends_exactly_once(steps in prop::collection::vec(step(), 0..200)) {
        let limits = Limits { messages: 8, octets: 12_000 };
        let mut session = Session::new(limits);
        // How often each id was taken, and how often it ended.
        let mut taken = BTreeMap::<MessageId, i32>::new();
        let mut position_before = 0;
        for step in steps {
            match step {
                Step::Offer { id, octets, ttl } => {
                    let message = message(id, octets, ttl);
                    let owed = session.owes(message.id);
                    if session.offer(Arc::clone(&message)).is_ok() && !owed {
                        *taken.entry(message.id).or_default() += 1;
                    }
                }
                Step::Send { after } => {
                    let now = NOW.plus(Duration::from_secs(after));
                    match session.next(now) {
                        Some(Next::Send { position, message }) => {
                            prop_assert!(!message.is_expired(now), "expired message on the wire");
                            prop_assert_eq!(position, position_before + 1);
                            position_before = position;
                        }
                        Some(Next::Expired(message)) => {
                            prop_assert!(message.is_expired(now));
                            *taken.get_mut(&message.id).unwrap() -= 1;
                        }
                        None => prop_assert!(!session.has_pending()),
                    }
                }
                Step::Settle(number) => {
                    if session.settle(id(number)).is_some() {
                        *taken.get_mut(&id(number)).unwrap() -= 1;
                    }
                }
                Step::SettleThrough(position) => {
                    for message in session.settle_through(position) {
                        *taken.get_mut(&message.id).unwrap() -= 1;
                    }
                }
            }
            prop_assert!(session.len() <= limits.messages);
            prop_assert!(session.octets() <= limits.octets || session.len() == 1);
            prop_assert!(taken.values().all(|owed| (0..=1).contains(owed)));
        }
        for message in session.close() {
            *taken.get_mut(&message.id).unwrap() -= 1;
        }
        prop_assert!(taken.values().all(|owed| *owed == 0));
        prop_assert!(session.is_empty() && session.octets() == 0);
    }
}
