//! The end of user agents that have not come for too long.

use pushgrid_store::{Subscription, Subscriptions};
use pushgrid_types::{Partition, SubscriptionRef, Timestamp, Urgency};

use super::*;

const LIMIT: Duration = Duration::from_hours(24);

/// Last visit of a user agent whose limit is over.
const LONG_AGO: Timestamp = Timestamp::from_secs(1_000_000_000);

async fn last_seen(world: &World, id: SubscriptionRef) -> Option<Subscription> {
    world.loader.memory.subscriptions().find(id.user_agent, id.channel).await.unwrap()
}

/// A subscription whose user agent was here long ago.
async fn subscribed_long_ago(world: &mut World, partition: Partition, is_noted: bool) -> SubscriptionRef {
    let id = world.subscribed(partition).await;
    let subscription = last_seen(world, id).await.unwrap();
    let old = Subscription { seen_at: LONG_AGO, is_noted, ..subscription };
    world.loader.memory.subscriptions().put(Some(id), old).await.unwrap();
    id
}

async fn sweep(world: &World, of: SubscriptionRef) -> u64 {
    world.registry.handle(of.user_agent).unwrap().sweep_unseen(LIMIT).await.unwrap()
}

/// Waits until a visit is noted.
async fn noted(world: &World, id: SubscriptionRef) {
    let is_noted = async || last_seen(world, id).await.is_some_and(|it| it.is_noted && it.seen_at > LONG_AGO);
    within(async {
        while !is_noted().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// Holds: A-127.
#[tokio::test]
async fn who_was_not_seen_for_the_limit_ends_with_all_that_waits() {
    let mut world = World::new();
    let id = subscribed_long_ago(&mut world, Partition(1), true).await;
    world.post(id).await;
    assert_eq!(sweep(&world, id).await, 1);
    assert_eq!(last_seen(&world, id).await, None);
    assert_eq!(sweep(&world, id).await, 0, "it has ended once");
}

#[tokio::test]
async fn who_is_connected_is_seen_and_counts_from_then_on() {
    let mut world = World::new();
    let id = world.subscribed(Partition(1)).await;
    world.registry.open(id.user_agent, session(4, 1), Urgency::LEAST).await.unwrap();
    let subscription = last_seen(&world, id).await.unwrap();
    let old = Subscription { seen_at: LONG_AGO, ..subscription };
    world.loader.memory.subscriptions().put(Some(id), old).await.unwrap();
    assert_eq!(sweep(&world, id).await, 0);
    noted(&world, id).await;
    world.registry.close(id.user_agent, session(4, 1)).await.unwrap();
    assert_eq!(sweep(&world, id).await, 0, "it was here a moment ago");
}

#[tokio::test]
async fn who_was_seen_by_no_release_that_notes_it_counts_from_the_first_look_on() {
    let mut world = World::new();
    let id = subscribed_long_ago(&mut world, Partition(1), false).await;
    assert_eq!(sweep(&world, id).await, 0);
    noted(&world, id).await;
}

#[tokio::test]
async fn a_visit_is_noted_once_a_day() {
    let mut world = World::new();
    let id = subscribed_long_ago(&mut world, Partition(1), true).await;
    world.registry.open(id.user_agent, session(4, 1), Urgency::LEAST).await.unwrap();
    noted(&world, id).await;
    let first = last_seen(&world, id).await;
    world.registry.open(id.user_agent, session(4, 2), Urgency::LEAST).await.unwrap();
    world.registry.close(id.user_agent, session(4, 2)).await.unwrap();
    assert_eq!(last_seen(&world, id).await, first);
}
