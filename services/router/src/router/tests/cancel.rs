//! Cancellations wait until the ends in the log are durable, and hold nobody up.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use pushgrid_store::{Cancelled, Mailbox, ResourceLink};
use pushgrid_types::{Content, MessageRef, SessionRef, SubscriptionRef};
use tokio::time::timeout;

use super::*;

/// A user agent with a session, at which messages are in flight.
struct Scene {
    world: World,
    to: SubscriptionRef,
    socket: SessionRef,
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::new();
        let to = world.subscribed(Partition(1)).await;
        let socket = session(1, 1);
        world.registry.open(to.user_agent, socket, Urgency::LEAST).await.unwrap();
        let scene = Self { world, to, socket };
        // Before the session has read its mailbox to the end, a message goes there first.
        loop {
            let message = scene.send().await;
            let stored = scene.world.loader.memory.mailbox().usage(to.user_agent).await.unwrap().messages;
            assert_eq!(scene.world.registry.acknowledge(message).await.unwrap(), Cancelled::Ended);
            if stored == 0 {
                return scene;
            }
        }
    }

    /// Posts a message, and returns once it is in flight.
    async fn send(&self) -> MessageRef {
        let message = self.world.accept(self.to, Ttl::from_secs(3600), Content::default()).await;
        let mut delivered = self.world.nodes.delivered.subscribe();
        let sent = (self.socket, message.id);
        within(delivered.wait_for(|delivered| delivered.contains(&sent))).await.unwrap();
        message
    }

    fn cancelled(&self) -> u64 {
        self.world.loader.memory.ledger().snapshot().ended[Outcome::Cancelled.index()]
    }

    async fn flushes(&self, count: u32) {
        let mut flushes = self.world.loader.faults.flushes.subscribe();
        within(flushes.wait_for(|begun| *begun >= count)).await.unwrap();
    }
}

/// Polls a call once, and finds it without an answer.
async fn is_waiting<F: Future + ?Sized>(mut call: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_message_in_flight_is_cancelled_when_its_end_is_durable_and_holds_up_nothing_else() {
    let scene = Scene::new().await;
    let (first, second, third) = (scene.send().await, scene.send().await, scene.send().await);
    let gate = scene.world.loader.faults.hold_flushes();
    let registry = &scene.world.registry;
    let mut cancel = Box::pin(registry.cancel(first));
    assert!(is_waiting(cancel.as_mut()).await);
    scene.flushes(1).await;
    assert_eq!(scene.cancelled(), 1, "the log has been told");
    // The partition takes and answers the next events, so a cancellation that did not wait would be answered by now.
    scene.send().await;
    assert_eq!(registry.acknowledge(second).await.unwrap(), Cancelled::Ended, "a redelivery is allowed");
    assert!(is_waiting(cancel.as_mut()).await, "a crash would redeliver the message");
    let mut again = Box::pin(registry.cancel(first));
    let mut later = Box::pin(registry.cancel(third));
    assert!(is_waiting(again.as_mut()).await);
    assert!(is_waiting(later.as_mut()).await);
    scene.send().await;
    assert!(is_waiting(again.as_mut()).await, "nor is anybody told that it is gone");
    gate.add_permits(1);
    assert_eq!(within(cancel).await.unwrap(), Cancelled::Ended);
    scene.flushes(2).await;
    assert!(is_waiting(later.as_mut()).await, "the first flush began before its end");
    gate.add_permits(1);
    assert_eq!(within(later).await.unwrap(), Cancelled::Ended);
    assert_eq!(within(again).await.unwrap(), Cancelled::Gone);
}

#[tokio::test]
async fn cancellations_that_come_during_a_flush_share_the_next_one() {
    let scene = Scene::new().await;
    let mut messages = Vec::new();
    for _ in 0..5 {
        messages.push(scene.send().await);
    }
    let gate = scene.world.loader.faults.hold_flushes();
    let registry = &scene.world.registry;
    let mut cancels: Vec<_> =
        messages.into_iter().map(|message| Box::pin(registry.cancel(message))).collect();
    assert!(is_waiting(cancels[0].as_mut()).await);
    scene.flushes(1).await;
    for cancel in &mut cancels[1..] {
        assert!(is_waiting(cancel.as_mut()).await);
    }
    // Behind all of them.
    scene.send().await;
    gate.add_permits(2);
    for cancel in cancels {
        assert_eq!(within(cancel).await.unwrap(), Cancelled::Ended);
    }
    assert_eq!(*scene.world.loader.faults.flushes.borrow(), 2);
}

#[tokio::test]
async fn a_cancellation_whose_flush_fails_is_unknown_and_gone_once_a_flush_has_succeeded() {
    let scene = Scene::new().await;
    let message = scene.send().await;
    let registry = &scene.world.registry;
    scene.world.loader.faults.failed_flushes.store(2, Ordering::Relaxed);
    for _ in 0..2 {
        let refused = within(registry.cancel(message)).await;
        assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
    }
    assert_eq!(within(registry.cancel(message)).await.unwrap(), Cancelled::Gone);
    assert_eq!(*scene.world.loader.faults.flushes.borrow(), 3);
    assert_eq!(within(registry.cancel(message)).await.unwrap(), Cancelled::Gone);
    assert_eq!(*scene.world.loader.faults.flushes.borrow(), 3, "nothing is owed any more");
    assert_eq!(scene.cancelled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_does_not_wait_for_a_flush_without_end() {
    let scene = Scene::new().await;
    let message = scene.send().await;
    let _gate = scene.world.loader.faults.hold_flushes();
    let registry = &scene.world.registry;
    let refused = within(registry.cancel(message)).await;
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
    // The first one is held back for ever, and keeps no other from being made.
    scene.world.loader.faults.gate.lock().take();
    assert_eq!(within(registry.cancel(message)).await.unwrap(), Cancelled::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_does_not_wait_without_end_for_a_mailbox_that_cannot_be_written() {
    let mut world = World::new();
    let to = world.subscribed(Partition(1)).await;
    let stores = &world.loader.faults.stores;
    stores.store(u32::MAX, Ordering::Relaxed);
    let message = world.accept(to, Ttl::from_secs(3600), Content::default()).await;
    let refused = timeout(Duration::from_mins(1), world.registry.cancel(message)).await.unwrap();
    assert!(matches!(refused, Err(LinkError::Unavailable)), "{refused:?}");
    stores.store(0, Ordering::Relaxed);
    let ended = within(world.registry.cancel(message)).await.unwrap();
    assert_eq!(ended, Cancelled::Ended, "nobody else was told");
    assert_eq!(world.loader.memory.ledger().snapshot().ended[Outcome::Cancelled.index()], 1);
}
