//! Checks of messages without a body, ended in every way while others wait.

use std::sync::Arc;

use pushgrid_store::PageStart;
use pushgrid_types::{Message, Outcome};

use super::super::support::{ALL, channel, living, reborn, sized, subscription, topic, user_agent};
use super::{NOW, Owner, checks};

checks!(
    an_empty_message_ends_while_others_wait,
    an_empty_message_is_replaced_in_its_topic,
    an_empty_message_is_stored_again_by_a_later_leader_epoch,
    nothing_but_empty_messages,
);

fn empty(owner_of: u8, on: u8, label: u64) -> Arc<Message> {
    let plain = Message::clone(&Owner::message(subscription(owner_of, on), label));
    Arc::new(living(10, sized(0, plain)))
}

/// An empty message ends by any outcome, whichever of several comes first.
async fn an_empty_message_ends_while_others_wait(mut owner: Owner) {
    let outcomes = [Outcome::Delivered, Outcome::Expired, Outcome::Cancelled, Outcome::Unsubscribed];
    for (label, outcome) in (10..).step_by(10).zip(outcomes) {
        owner.keep(subscription(1, 1), [label]).await;
        let empty = empty(1, 2, label + 1);
        owner.tell(&[owner.stores(&empty)]).await;
        let ended = owner.known(&empty).ended(outcome);
        owner.tell(std::slice::from_ref(&ended)).await;
        owner.tell(&[ended]).await;
        assert_eq!(owner.stored(&empty).await, None, "it has ended: {outcome:?}");
        owner.assert_usage(1, label / 10, label, label / 10).await;
    }
    let page = owner.view.page(owner.barrier, user_agent(1), PageStart::FIRST, NOW, ALL).await;
    assert_eq!(page.expect("page answers").messages.len(), 4, "the others wait on");
}

/// An empty message is replaced by one with a body, and the other way round.
async fn an_empty_message_is_replaced_in_its_topic(mut owner: Owner) {
    owner.keep(subscription(1, 1), [1]).await;
    let to = subscription(1, 2);
    let mut waits: Option<Arc<Message>> = None;
    for (label, octets) in (2..).zip([0, 0, 10, 0]) {
        let plain = sized(octets, Message::clone(&Owner::message(to, label)));
        let newer = Arc::new(Message { topic: Some(topic("t")), ..plain });
        let mut changes: Vec<_> = waits.iter().map(|older| owner.ends(older)).collect();
        changes.push(owner.stores(&newer));
        owner.tell(&changes).await;
        let asked = [(user_agent(1), channel(2), topic("t"))];
        let found = owner.view.in_topic(owner.barrier, &asked).await.expect("in_topic answers");
        assert_eq!(found, [Some(owner.known(&newer))]);
        owner.assert_usage(1, 2, 10 + octets as u64, 2).await;
        waits = Some(newer);
    }
}

/// An empty message stored again belongs to the later leader epoch, which ends it.
async fn an_empty_message_is_stored_again_by_a_later_leader_epoch(mut owner: Owner) {
    let (one, two) = (empty(1, 1, 1), Owner::message(reborn(subscription(1, 1)), 2));
    owner.tell(&[owner.stores(&one), owner.stores(&two)]).await;
    let mut next = owner.successor().await;
    next.tell(&[next.stores(&one), owner.ends(&one)]).await;
    next.assert_usage(1, 2, 10, 2).await;
    next.tell(&[next.ends(&one)]).await;
    next.assert_usage(1, 1, 10, 1).await;
}

/// Empty messages count as messages of no octets.
async fn nothing_but_empty_messages(mut owner: Owner) {
    let all: Vec<_> = (1..=5).map(|label| empty(1, 1, label)).collect();
    let changes: Vec<_> = all.iter().map(|it| owner.stores(it)).collect();
    owner.tell(&changes).await;
    owner.assert_usage(1, 5, 0, 5).await;
    for (left, ended) in (0..5).rev().zip(&all) {
        owner.tell(&[owner.ends(ended)]).await;
        owner.assert_usage(1, left, 0, left).await;
    }
}
