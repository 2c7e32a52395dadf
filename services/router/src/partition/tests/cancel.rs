//! Answers to cancellations, which no crash can undo.

use pushgrid_store::{Cancelled, Page};
use pushgrid_types::Outcome;
use tokio::sync::oneshot;

use super::world::{Asked, World, reference};
use crate::partition::CancelReply;

#[test]
fn a_delete_is_answered_once_no_crash_can_undo_it() {
    for (in_flight, is_durable) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = World::new();
        if in_flight {
            world.connect(0);
            world.collect();
            world.answer_all();
        }
        world.post(0, false, None);
        world.collect();
        let message = world.posted[0].clone();
        assert_eq!(world.stores.is_empty(), in_flight, "in flight, or on the way into the mailbox");
        let (reply, mut answer) = oneshot::channel();
        world.partition.cancel(reference(&message), CancelReply::to_cancellation(reply));
        world.collect();
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        if is_durable {
            world.answer_all();
            assert_eq!(answer.try_recv(), Ok(Cancelled::Ended));
        }
        world.take_over(false);
        world.read_log(usize::MAX);
        world.connect(0);
        world.collect();
        world.answer_all();
        assert_eq!(world.sent_to(0).is_empty(), is_durable);
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}

#[test]
fn a_delete_that_is_repeated_on_the_way_into_the_mailbox_is_answered_once_the_first_has_gone_away() {
    let mut world = World::new();
    world.post(0, false, None);
    world.collect();
    let message = world.posted[0].clone();
    let ask = |world: &mut World| {
        let (reply, answer) = oneshot::channel();
        world.partition.cancel(reference(&message), CancelReply::to_cancellation(reply));
        world.collect();
        answer
    };
    let first = ask(&mut world);
    let mut second = ask(&mut world);
    assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Closed), "one waits already");
    drop(first);
    let mut third = ask(&mut world);
    assert_eq!(third.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    world.answer_all();
    assert_eq!(third.try_recv(), Ok(Cancelled::Ended));
    assert_eq!(world.outcomes.get(&message.id), Some(&Outcome::Cancelled));
}

#[test]
fn a_page_that_was_read_before_a_delete_does_not_bring_the_message_back() {
    let mut world = World::new();
    world.post(0, false, None);
    world.collect();
    world.answer_all();
    let message = world.posted[0].clone();
    world.connect(0);
    world.collect();
    let page = world.asked.iter_mut().find_map(|asked| match asked {
        Asked::Page(_, page) => Some(page),
        _ => None,
    });
    *page.expect("the session reads its mailbox") =
        Some(Page { messages: vec![(*message).clone()], is_last: true });
    let (reply, mut answer) = oneshot::channel();
    world.partition.cancel(reference(&message), CancelReply::to_cancellation(reply));
    world.collect();
    world.answer_newest();
    assert_eq!(answer.try_recv(), Ok(Cancelled::Ended));
    world.answer_all();
    assert_eq!(world.sent_to(0), []);
    assert!(world.partition.ending.is_empty(), "and nothing is remembered for longer than the page");
}
