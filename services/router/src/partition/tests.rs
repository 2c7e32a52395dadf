//! The partition against a model of its stores: whatever is posted, acknowledged, cancelled, disconnected and
//! restarted, in whatever order the work comes back, every message ends once, and none is lost.

mod addresses;
mod cancel;
mod checks;
mod urgency;
mod world;

use std::sync::Arc;

use proptest::prelude::*;
use pushgrid_store::Cancelled;
use pushgrid_types::{Message, MessageId, Outcome, Sequence};
use tokio::sync::oneshot;

use super::*;
use world::{World, reference};
pub(super) use world::{limits, user_agent};

const AGENTS: u8 = 3;

#[derive(Debug, Clone)]
enum Step {
    Post {
        agent: u8,
        ttl_zero: bool,
        topic: Option<u8>,
        urgency: Urgency,
    },
    SetUrgency {
        agent: u8,
        urgency: Urgency,
    },
    Connect {
        agent: u8,
    },
    Disconnect {
        agent: u8,
    },
    Acknowledge {
        agent: u8,
        which: prop::sample::Index,
    },
    /// Cancels the id of another user agent's message.
    AcknowledgeForeign {
        agent: u8,
        which: prop::sample::Index,
    },
    Cancel {
        which: prop::sample::Index,
    },
    Work {
        which: prop::sample::Index,
    },
    Wait,
    /// Reads the whole log, answers every call and acknowledges every delivery.
    CatchUp,
    Restart,
    /// Hands the partition to another owner; the nodes announce their sockets before or after the log is read.
    TakeOver {
        announced_first: bool,
    },
}

fn urgency() -> impl Strategy<Value = Urgency> {
    let of = |level: usize| Urgency::ALL[level];
    prop_oneof![3 => Just(Urgency::Normal), 2 => (0..Urgency::ALL.len()).prop_map(of)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = 0..AGENTS;
    let step = prop_oneof![
        6 => (agent.clone(), prop::bool::weighted(0.15), prop::option::weighted(0.3, 0..2u8), urgency())
            .prop_map(|(agent, ttl_zero, topic, urgency)| Step::Post { agent, ttl_zero, topic, urgency }),
        1 => (agent.clone(), urgency()).prop_map(|(agent, urgency)| Step::SetUrgency { agent, urgency }),
        2 => agent.clone().prop_map(|agent| Step::Connect { agent }),
        1 => agent.clone().prop_map(|agent| Step::Disconnect { agent }),
        5 => (agent.clone(), any::<prop::sample::Index>())
            .prop_map(|(agent, which)| Step::Acknowledge { agent, which }),
        2 => (agent, any::<prop::sample::Index>())
            .prop_map(|(agent, which)| Step::AcknowledgeForeign { agent, which }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Cancel { which }),
        8 => any::<prop::sample::Index>().prop_map(|which| Step::Work { which }),
        1 => Just(Step::Wait),
        1 => any::<bool>().prop_map(|announced_first| Step::TakeOver { announced_first }),
        1 => prop::bool::weighted(0.1).prop_map(|restart| if restart { Step::Restart } else { Step::Wait }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Steps in which one user agent has a full window most of the time, and the partition changes hands often.
fn busy_steps() -> impl Strategy<Value = Vec<Step>> {
    let post = |(topic, urgency)| Step::Post { agent: 0, ttl_zero: false, topic, urgency };
    let step = prop_oneof![
        8 => (prop::option::weighted(0.1, 0..2u8), urgency()).prop_map(post),
        1 => urgency().prop_map(|urgency| Step::SetUrgency { agent: 0, urgency }),
        4 => any::<prop::sample::Index>().prop_map(|which| Step::Acknowledge { agent: 0, which }),
        12 => any::<prop::sample::Index>().prop_map(|which| Step::Work { which }),
        1 => prop_oneof![Just(Step::Wait), Just(Step::Connect { agent: 0 }), Just(Step::CatchUp)],
        1 => any::<bool>().prop_map(|announced_first| Step::TakeOver { announced_first }),
    ];
    let connected = vec![Step::Connect { agent: 0 }, Step::CatchUp];
    prop::collection::vec(step, 1..60).prop_map(move |steps| [connected.clone(), steps].concat())
}

#[test]
fn a_delete_waits_for_a_message_that_has_not_come_out_of_the_log_and_for_no_other() {
    let mut world = World::new();
    world.post(0, false, None);
    let seen = world.posted[0].clone();
    let unread =
        Arc::new(Message { sequence: Sequence(9), id: MessageId::from_octets([9; 16]), ..(*seen).clone() });
    world.collect();
    world.answer_all();
    let ask = |world: &mut World, message: &Message| {
        let (reply, answer) = oneshot::channel();
        world.partition.cancel(reference(message), CancelReply::to_cancellation(reply));
        world.collect();
        world.answer_all();
        answer
    };
    assert_eq!(ask(&mut world, &seen).try_recv(), Ok(Cancelled::Ended));
    assert_eq!(
        ask(&mut world, &seen).try_recv(),
        Ok(Cancelled::Gone),
        "it has been seen, so that is certain"
    );
    let mut early = ask(&mut world, &unread);
    assert!(early.try_recv().is_err(), "nobody can say yet");
    world.turn(|partition, turn| partition.route(turn, Routable { message: unread.clone(), alive: true }));
    world.collect();
    world.answer_all();
    assert_eq!(early.try_recv(), Ok(Cancelled::Ended));
}

// Holds.
#[test]
fn one_that_is_too_late_for_itself_still_takes_the_place_of_the_older_one_of_its_topic() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    world.post(0, false, Some(0));
    world.collect();
    let older = world.posted[0].clone();
    let late = Message { sequence: Sequence(99), expires_at: world.now, ..(*older).clone() };
    let late = Arc::new(Message { id: MessageId::from_octets([9; 16]), ..late });
    world.log.insert(late.sequence, late.clone());
    world.turn(|partition, turn| partition.route(turn, Routable { message: late.clone(), alive: true }));
    world.collect();
    assert_eq!(world.outcomes.get(&older.id), Some(&Outcome::Replaced));
    assert_eq!(world.stores.back(), Some(&vec![late]), "it is stored for a moment, where it replaces others");
}

// Holds: A-79.
#[test]
fn one_that_was_taken_back_before_its_log_was_read_has_taken_the_place_of_the_older_one() {
    let mut world = World::new();
    world.post(0, false, Some(0));
    world.collect();
    world.answer_all();
    let older = world.posted[0].clone();
    let newer =
        Arc::new(Message { sequence: Sequence(9), id: MessageId::from_octets([9; 16]), ..(*older).clone() });
    world.log.insert(newer.sequence, newer.clone());
    let (reply, mut answer) = oneshot::channel();
    world.partition.cancel(reference(&newer), CancelReply::to_cancellation(reply));
    world.collect();
    world.answer_all();
    world.turn(|partition, turn| partition.route(turn, Routable { message: newer.clone(), alive: true }));
    world.collect();
    world.answer_all();
    assert_eq!(answer.try_recv(), Ok(Cancelled::Ended));
    assert_eq!(world.outcomes.get(&older.id), Some(&Outcome::Replaced));
    assert_eq!(world.outcomes.get(&newer.id), Some(&Outcome::Cancelled));
}

#[test]
fn a_message_is_replaced_by_a_newer_one_on_the_way_into_the_mailbox_and_not_by_its_own_repeat() {
    for (id, replaces) in [(MessageId::from_octets([9; 16]), true), (MessageId::from_octets([1; 16]), false)]
    {
        let mut world = World::new();
        world.post(0, false, Some(0));
        world.collect();
        world.answer_all();
        let first = Message { id: MessageId::from_octets([1; 16]), ..(*world.posted[0]).clone() };
        let newer = Arc::new(Message { id, sequence: Sequence(9), ..first.clone() });
        world.turn(|partition, turn| partition.route(turn, Routable { message: newer, alive: true }));
        assert_eq!(world.partition.is_replaced(user_agent(0), &first), replaces);
    }
}

#[test]
fn what_was_acknowledged_before_the_log_was_read_is_not_sent_again_however_long_that_takes() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    world.post(0, false, None);
    world.post(0, false, None);
    world.collect();
    let ids: Vec<_> = world.posted.iter().map(|message| message.id).collect();
    world.take_over(false);
    world.acknowledge(0, ids[0]);
    world.collect();
    for _ in 0..3 {
        world.step(&Step::Wait);
    }
    world.acknowledge(0, ids[1]);
    world.collect();
    world.answer_all();
    world.read_log(usize::MAX);
    world.collect();
    world.answer_all();
    world.check_at_rest();
    assert_eq!(world.outcomes.get(&ids[0]), Some(&Outcome::Delivered));
    assert_eq!(world.outcomes.get(&ids[1]), Some(&Outcome::Delivered));
}

#[test]
fn a_user_agent_that_knows_the_id_of_anothers_message_keeps_it_from_nobody() {
    let mut world = World::new();
    world.post(1, false, None);
    world.collect();
    world.answer_all();
    let id = world.posted[0].id;
    // Meanwhile its page is being read, in which it would be passed over if it were ending.
    world.connect(1);
    world.collect();
    world.tell_acknowledged(0, id);
    world.collect();
    world.finish();
    assert_eq!(world.outcomes.get(&id), Some(&Outcome::Delivered));
    // The same while the message is in the log, of which a new owner has read nothing.
    world.post(1, false, None);
    world.collect();
    let id = world.posted[1].id;
    world.take_over(false);
    world.tell_acknowledged(0, id);
    world.collect();
    world.read_log(usize::MAX);
    world.collect();
    assert!(!world.outcomes.contains_key(&id), "only its own user agent can acknowledge it");
    world.finish();
    world.check();
}

#[test]
fn a_delete_of_a_message_that_may_still_come_out_of_the_log_is_never_told_that_it_has_ended() {
    let mut world = World::new();
    world.post(0, false, None);
    world.collect();
    let message = world.posted[0].clone();
    world.take_over(false);
    let ask = |world: &mut World| {
        let (reply, answer) = oneshot::channel();
        world.partition.cancel(reference(&message), CancelReply::to_cancellation(reply));
        world.collect();
        world.answer_all();
        answer
    };
    let mut first = ask(&mut world);
    let mut second = ask(&mut world);
    assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Closed), "one waits already");
    assert_eq!(first.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    // The log cannot be read for a while.
    world.step(&Step::Wait);
    assert_eq!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed), "nobody can say");
    let mut again = ask(&mut world);
    world.acknowledge(0, message.id);
    world.read_log(usize::MAX);
    world.collect();
    world.answer_all();
    assert_eq!(again.try_recv(), Ok(Cancelled::Gone), "the acknowledgement was first");
    assert_eq!(world.outcomes.get(&message.id), Some(&Outcome::Delivered));
}

#[test]
fn what_ended_in_an_earlier_life_is_gone_at_once() {
    let mut world = World::new();
    world.post(0, true, None);
    world.collect();
    let message = world.posted[0].clone();
    assert_eq!(world.outcomes.get(&message.id), Some(&Outcome::Expired), "it missed its user agent");
    world.take_over(false);
    let (reply, mut answer) = oneshot::channel();
    world.partition.cancel(reference(&message), CancelReply::to_cancellation(reply));
    world.collect();
    world.answer_all();
    assert_eq!(answer.try_recv(), Ok(Cancelled::Gone));
}

#[test]
fn an_unknown_id_asks_nothing_of_the_mailbox_when_all_of_it_has_been_sent() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    for label in 0..10 {
        world.tell_acknowledged(0, MessageId::from_octets([label; 16]));
        world.collect();
    }
    assert!(world.asked.is_empty());
    assert!(world.partition.ending.is_empty());
    world.tell_acknowledged(1, MessageId::from_octets([1; 16]));
    world.collect();
    assert_eq!(world.asked.len(), 1, "of one that is not connected nobody knows");
}

#[test]
fn what_an_earlier_owner_stored_waits_for_what_is_older_and_has_not_come_out_of_the_log() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    // The window takes four; two more are stored behind them.
    for _ in 0..6 {
        world.post(0, false, None);
        world.collect();
    }
    world.answer_all();
    let ids: Vec<_> = world.posted.iter().map(|message| message.id).collect();
    world.take_over(true);
    world.collect();
    world.answer_all();
    assert_eq!(world.sent_to(0), [], "the first of them is in the log");
    // The first two come out, then the others.
    for (count, sent) in [(2, &ids[..2]), (usize::MAX, &ids[..4])] {
        world.read_log(count);
        world.collect();
        world.answer_all();
        assert_eq!(world.sent_to(0), sent);
    }
    for id in ids {
        world.acknowledge(0, id);
        world.collect();
        world.answer_all();
    }
    world.finish();
    world.check();
}

#[test]
fn a_session_whose_node_had_no_room_is_read_on_at_the_next_sweep() {
    let mut world = World::new();
    world.post(0, false, None);
    world.collect();
    world.answer_all();
    *world.nodes.busy.lock() = true;
    world.connect(0);
    world.collect();
    world.answer_all();
    assert_eq!(world.sent_to(0), []);
    *world.nodes.busy.lock() = false;
    // No time-out has passed, and nothing comes for the user agent.
    world.turn(Partition::sweep);
    world.collect();
    world.answer_all();
    assert_eq!(world.sent_to(0), [world.posted[0].id]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // Holds: A-79.
    #[test]
    fn every_message_ends_once_and_none_is_lost(steps in prop_oneof![2 => steps(), 1 => busy_steps()]) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
        world.check();
        prop_assert!(world.partition.early.len() <= 4);
    }
}
