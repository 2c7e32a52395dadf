//! A user agent that names its messages and subscriptions by their addresses, outside of its session.

use pushgrid_store::Cancelled;
use pushgrid_types::{MessageId, Outcome};
use tokio::sync::oneshot;

use super::world::{World, reference, user_agent};
use super::{CancelReply, Message};

fn acknowledge(world: &mut World, message: &Message) -> Option<Cancelled> {
    let (reply, mut answer) = oneshot::channel();
    let reply = CancelReply::to_acknowledgement(world.now, reply);
    world.partition.cancel(reference(message), reply);
    world.collect();
    world.answer_all();
    answer.try_recv().ok()
}

fn in_flight(world: &World) -> usize {
    world.partition.population().1
}

#[test]
fn a_message_ends_as_delivered_wherever_it_is_and_once() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    world.post(0, false, None);
    world.collect();
    let flying = world.posted[0].clone();
    assert_eq!(in_flight(&world), 1);
    assert_eq!(acknowledge(&mut world, &flying), Some(Cancelled::Ended));
    assert_eq!(in_flight(&world), 0, "the next one has its place");
    assert_eq!(acknowledge(&mut world, &flying), Some(Cancelled::Gone));

    // For a user agent that is away.
    world.post(1, false, None);
    world.collect();
    world.answer_all();
    let stored = world.posted[1].clone();
    assert_eq!(acknowledge(&mut world, &stored), Some(Cancelled::Ended));
    assert_eq!(acknowledge(&mut world, &stored), Some(Cancelled::Gone));
    for message in [&flying, &stored] {
        assert_eq!(world.outcomes.get(&message.id), Some(&Outcome::Delivered));
    }
    let unknown = Message { id: MessageId::from_octets([9; 16]), ..(*stored).clone() };
    assert_eq!(acknowledge(&mut world, &unknown), Some(Cancelled::Gone));
}

#[test]
fn a_user_agent_without_subscriptions_is_dismissed() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    world.collect();
    world.answer_all();
    assert_eq!(world.partition.population().0, 2);
    world.turn(|partition, turn| partition.dismiss(turn, user_agent(0)));
    world.turn(|partition, turn| partition.dismiss(turn, user_agent(0)));
    world.collect();
    world.answer_all();
    assert_eq!(world.partition.population().0, 1, "the other one stays");
    assert!(!world.partition.is_connected(user_agent(0)));
}
