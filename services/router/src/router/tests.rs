//! A router over models: partitions are gained and lost, and reports about sessions reach their owner.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pushgrid_store::{
    IngressLink, LinkError, Mailbox, Opened, Presence, RouterLink, SessionEvents, Settlement,
};
use pushgrid_types::{ChannelId, NodeId, Outcome, Restriction, SystemRng, Ttl, Urgency};
use world::{World, held, holding, session, user_agent_of, within};

use super::*;

mod cancel;
mod lines;
mod receipts;
mod unseen;
mod world;

#[tokio::test]
async fn a_call_finds_its_partition_while_it_is_owned_and_no_other() {
    let mut world = World::new();
    let (here, elsewhere) = (user_agent_of(Partition(1)), user_agent_of(Partition(2)));
    world.gain(Partition(1)).await;
    assert_eq!(*world.nodes.asked.lock(), [Partition(1)], "nodes are asked for their sessions");

    let registered =
        world.registry.register(here, ChannelId::random(&SystemRng), Restriction::Open).await.unwrap();
    assert!(world.registry.alive(registered.subscription.id).await.unwrap());
    assert!(matches!(
        world.registry.open(here, session(1, 1), Urgency::LEAST).await,
        Ok(Opened::Known { .. })
    ));
    let refused = world.registry.open(elsewhere, session(1, 2), Urgency::LEAST).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");

    world.lose(Partition(1)).await;
    assert_eq!(*world.loader.closed.borrow(), 1, "its state was closed before the next owner begins");
    assert!(world.registry.owns().is_empty());
    let refused = world.registry.open(here, session(1, 3), Urgency::LEAST).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
}

#[tokio::test]
async fn the_sessions_that_a_node_announces_get_their_messages_from_the_new_owner() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(3)).await;
    let user_agent = subscription.user_agent;
    let socket = session(7, 1);
    let Opened::Known { epoch, .. } = world.registry.open(user_agent, socket, Urgency::LEAST).await.unwrap()
    else {
        panic!("it has a subscription")
    };
    world.lose(Partition(3)).await;
    let id = world.post(subscription).await;

    world.gain(Partition(3)).await;
    world.registry.announced(vec![held(user_agent, epoch.0, socket)]).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_superseded_elsewhere_is_closed_when_it_is_announced() {
    let mut world = World::new();
    let user_agent = world.subscribed(Partition(0)).await.user_agent;
    let Opened::Known { epoch, .. } =
        world.registry.open(user_agent, session(2, 9), Urgency::LEAST).await.unwrap()
    else {
        panic!("it has a subscription")
    };
    world.registry.announced(vec![held(user_agent, epoch.0 - 1, session(1, 5))]).await;
    let mut evicted = world.nodes.evicted.subscribe();
    within(evicted.wait_for(|evicted| *evicted == [session(1, 5)])).await.unwrap();
}

// Holds: A-114.
#[tokio::test]
async fn what_was_sent_to_a_node_that_is_gone_waits_for_the_next_session() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(1)).await;
    let user_agent = subscription.user_agent;
    let (first, second) = (session(1, 1), session(2, 1));
    world.registry.open(user_agent, first, Urgency::LEAST).await.unwrap();
    let id = world.post(subscription).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| *delivered == [(first, id)])).await.unwrap();

    world.registry.gone(NodeId(1)).await;
    world.registry.open(user_agent, second, Urgency::LEAST).await.unwrap();
    within(delivered.wait_for(|delivered| delivered.last() == Some(&(second, id)))).await.unwrap();
    assert!(world.nodes.evicted.borrow().is_empty(), "a socket that is gone is not closed");
}

#[tokio::test]
async fn draining_hands_every_partition_over_and_then_ends() {
    let mut world = World::new();
    world.gain(Partition(0)).await;
    world.gain(Partition(1)).await;
    world.shutdown.drain();
    within(world.left.notified()).await;
    world.lose(Partition(0)).await;
    world.lose(Partition(1)).await;
    world.changes.send(None).await.unwrap();
    within(world.running).await.unwrap().unwrap();
    assert_eq!(*world.loader.closed.borrow(), 2);
}

// Holds: A-59.
#[tokio::test]
async fn a_message_with_ttl_0_waits_for_the_look_up_of_its_socket() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let socket = session(4, 1);
    world.registry.open(user_agent, socket, Urgency::LEAST).await.unwrap();
    world.lose(Partition(2)).await;
    world.gain(Partition(2)).await;
    // Nobody has announced it to the new owner.
    world.loader.faults.locates.store(2, Ordering::Relaxed);
    let id = world.post_for(subscription, Ttl::from_secs(0)).await;
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_opened_again_keeps_what_is_in_flight_to_it() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let socket = session(4, 1);
    world.registry.open(user_agent, socket, Urgency::LEAST).await.unwrap();
    let mut delivered = world.nodes.delivered.subscribe();
    let mut sent = Vec::new();
    for ttl in [0, 3600] {
        sent.push((socket, world.post_for(subscription, Ttl::from_secs(ttl)).await));
        within(delivered.wait_for(|delivered| *delivered == sent)).await.unwrap();
    }
    world.registry.open(user_agent, socket, Urgency::LEAST).await.unwrap();
    sent.push((socket, world.post(subscription).await));
    within(delivered.wait_for(|delivered| delivered.len() >= sent.len())).await.unwrap();
    assert_eq!(*delivered.borrow(), sent, "nothing is sent twice");
    let ended = sent.iter().map(|(_, id)| Settlement { id: *id, outcome: Outcome::Delivered });
    world.registry.settle(user_agent, ended.collect()).await.unwrap();
    world.registry.close(user_agent, socket).await.unwrap();
    let account = world.loader.memory.ledger().snapshot();
    assert_eq!(account.ended[Outcome::Delivered.index()], 3, "{account:?}");
    // By the claim that it renewed: nobody has to find it there.
    let located = world.loader.presence.locate(&[user_agent]).await.unwrap();
    assert_eq!(located, [None]);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_though_its_user_agent_is_set_aside_for_a_while() {
    let mut world = World::new();
    let subscription = world.subscribed(Partition(2)).await;
    let user_agent = subscription.user_agent;
    let id = world.post(subscription).await;
    let socket = session(4, 1);
    let mailbox = world.loader.memory.mailbox();
    holding(&mailbox, user_agent, 1).await;
    world.registry.open(user_agent, socket, Urgency::LEAST).await.unwrap();
    let mut delivered = world.nodes.delivered.subscribe();
    within(delivered.wait_for(|delivered| *delivered == [(socket, id)])).await.unwrap();
    world.loader.faults.settles.store(3, Ordering::Relaxed);
    let ended = vec![Settlement { id, outcome: Outcome::Delivered }];
    world.registry.settle(user_agent, ended).await.unwrap();
    holding(&mailbox, user_agent, 0).await;
}

#[tokio::test]
async fn an_unregister_of_all_ends_what_waits_and_what_is_in_flight_and_leaves_the_session_open() {
    let mut world = World::new();
    let first = world.subscribed(Partition(1)).await;
    let (user_agent, socket) = (first.user_agent, session(4, 1));
    let registry = &world.registry;
    let second = registry.register(user_agent, ChannelId::random(&SystemRng), Restriction::Open).await;
    let second = second.unwrap().subscription.id;
    let mailbox = world.loader.memory.mailbox();
    for to in [first, second] {
        world.post(to).await;
    }
    holding(&mailbox, user_agent, 2).await;
    registry.open(user_agent, socket, Urgency::LEAST).await.unwrap();
    // The first after the opening may be stored, too; one that is not has its only copy in the log.
    let mut delivered = world.nodes.delivered.subscribe();
    let mut posted = 2;
    loop {
        let id = world.post(second).await;
        posted += 1;
        within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
        if mailbox.usage(user_agent).await.unwrap().messages < posted {
            break;
        }
    }

    registry.unregister_all(user_agent).await.unwrap();
    for id in [first, second] {
        assert!(!registry.alive(id).await.unwrap());
    }
    let account = world.loader.memory.ledger().snapshot();
    assert_eq!((account.pending, account.ended[Outcome::Unsubscribed.index()]), (0, posted));
    let stranger = registry.open(user_agent, session(4, 2), Urgency::LEAST).await;
    assert!(matches!(stranger, Ok(Opened::Unknown)), "{stranger:?}");

    let again =
        registry.register(user_agent, first.channel, Restriction::Open).await.unwrap().subscription.id;
    assert_ne!(again, first, "another incarnation");
    let id = world.post(again).await;
    within(delivered.wait_for(|delivered| delivered.contains(&(socket, id)))).await.unwrap();
    assert_eq!(*world.nodes.evicted.borrow(), [], "the session that has asked goes on");
    registry.unregister_all(user_agent).await.unwrap();
    registry.unregister_all(user_agent).await.unwrap();
}
