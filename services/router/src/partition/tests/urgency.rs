//! The least urgency of a session, and the order of its mailbox.

use pushgrid_types::{MessageId, Urgency};

use super::world::World;
use Urgency::{High, Low, Normal, VeryLow};

fn rest(world: &mut World) {
    world.collect();
    world.answer_all();
}

fn connected() -> World {
    let mut world = World::new();
    world.connect(0);
    rest(&mut world);
    world
}

fn post(world: &mut World, urgencies: &[Urgency]) {
    for urgency in urgencies {
        world.post_urgent(0, false, None, *urgency);
        rest(world);
    }
}

/// Ids of these messages, by the order of their posting.
fn posted(world: &World, places: &[usize]) -> Vec<MessageId> {
    places.iter().map(|place| world.posted[*place].id).collect()
}

#[test]
fn the_most_urgent_leave_a_backlog_first_and_those_of_one_urgency_in_order() {
    let mut world = connected();
    // Four fill the window.
    post(&mut world, &[Normal, Normal, Normal, Normal, Low, Normal, High, VeryLow, Normal, High]);
    assert_eq!(world.sent_to(0), posted(&world, &[0, 1, 2, 3]));
    for place in [0, 1, 2, 3, 6, 9, 5, 8, 4] {
        let id = world.posted[place].id;
        world.acknowledge(0, id);
        rest(&mut world);
    }
    assert_eq!(world.sent_to(0), posted(&world, &[0, 1, 2, 3, 6, 9, 5, 8, 4, 7]));
}

#[test]
fn an_urgent_message_passes_a_backlog_that_waits_below_the_least_urgency() {
    let mut world = connected();
    world.set_urgency(0, Normal);
    post(&mut world, &[Low, High, Normal, VeryLow]);
    assert_eq!(world.sent_to(0), posted(&world, &[1, 2]));
    assert!(
        world.mailbox.len() == 2 && world.log.len() == 2,
        "what goes straight to the socket is not stored"
    );
    world.set_urgency(0, VeryLow);
    rest(&mut world);
    assert_eq!(world.sent_to(0), posted(&world, &[1, 2, 0, 3]));
}

#[test]
fn what_is_in_flight_below_a_raised_urgency_takes_no_room_and_comes_again() {
    let mut world = connected();
    post(&mut world, &[Low, Low, Normal, Low]);
    assert_eq!(world.partition.population().1, 4);
    world.set_urgency(0, High);
    rest(&mut world);
    assert_eq!(world.partition.population().1, 0, "the window has room for what is urgent");
    assert_eq!(world.mailbox.len(), 4, "all of it waits in the mailbox");
    post(&mut world, &[High, High, High, High]);
    assert_eq!(world.partition.population().1, 4);
    // One that had been sent before is acknowledged late.
    let late = world.posted[1].id;
    world.acknowledge(0, late);
    for place in 4..8 {
        let id = world.posted[place].id;
        world.acknowledge(0, id);
    }
    rest(&mut world);
    world.set_urgency(0, VeryLow);
    rest(&mut world);
    assert_eq!(world.partition.population().1, 3, "all but the one that has ended are in flight again");
    world.finish();
    world.check();
}

#[test]
fn a_topic_has_one_message_whatever_the_urgency_of_each() {
    let mut world = connected();
    world.set_urgency(0, Normal);
    world.post_urgent(0, false, Some(0), Low);
    rest(&mut world);
    world.post_urgent(0, false, Some(0), High);
    rest(&mut world);
    assert_eq!(world.sent_to(0), posted(&world, &[1]));
    let older = world.posted[0].id;
    assert_eq!(world.outcomes.get(&older), Some(&pushgrid_types::Outcome::Replaced));
    world.post_urgent(0, false, Some(0), Low);
    rest(&mut world);
    world.set_urgency(0, VeryLow);
    rest(&mut world);
    assert_eq!(world.sent_to(0), posted(&world, &[1, 2]));
}

#[test]
fn a_session_found_without_its_urgency_is_sent_nothing_for_good_that_its_node_has_dropped() {
    let mut world = connected();
    world.set_urgency(0, Normal);
    post(&mut world, &[Normal]);
    // The next owner finds the session in the registry, which knows of no urgency.
    while !world.next.is_multiple_of(3) {
        world.next += 1;
    }
    world.take_over(true);
    world.read_log(usize::MAX);
    rest(&mut world);
    post(&mut world, &[Low, High]);
    assert_eq!(world.sent_to(0), posted(&world, &[0, 2]));
    world.set_urgency(0, VeryLow);
    rest(&mut world);
    assert_eq!(world.sent_to(0), posted(&world, &[0, 2, 1]));
}
