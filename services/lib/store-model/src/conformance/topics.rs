//! Checks of topic replacement by [`pushgrid_store::Mailbox::store`] (promise P5, RFC 8030 section 5.4).

use std::sync::Arc;

use pushgrid_types::{Message, Outcome, Restriction, SubscriptionRef};

use super::support::{message, reborn, subscription, topic};
use super::{Parts, checks};
use pushgrid_store::{Stored, Subscription};

checks!(
    the_newest_of_a_topic_stays_in_whatever_order_they_come,
    the_newest_of_a_topic_stays_within_one_call,
    a_late_older_message_does_not_replace,
    a_replaced_message_answers_the_same_again,
    a_topic_is_of_one_subscription,
    a_topic_is_of_one_incarnation,
    topics_are_compared_octet_by_octet,
    a_key_of_one_namespace_replaces_none_of_another,
    a_topic_is_free_again_when_its_message_ended,
);

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const REPLACED: Stored = Stored::Ended(Outcome::Replaced);

/// Stored by single calls in every order of three, the newest message stays.
pub async fn the_newest_of_a_topic_stays_in_whatever_order_they_come(parts: Parts) {
    for (round, order) in (1..).zip(ORDERS) {
        let accepted = parts.three(round).await;
        let mut newest = None;
        for at in order {
            let expected = if newest > Some(at) { REPLACED } else { Stored::Kept };
            newest = newest.max(Some(at));
            assert_eq!(parts.store(&accepted[at]).await, expected, "message {at} in the order {order:?}");
        }
        assert_eq!(parts.waiting(round).await, [Message::clone(&accepted[2])], "the newest, after {order:?}");
        let rounds = u64::from(round);
        parts.assert_account(rounds, &[(Outcome::Replaced, 2 * rounds)]).await;
    }
    let parts = parts.reopened().await;
    parts.assert_account(6, &[(Outcome::Replaced, 12)]).await;
}

/// Stored by one call in every order of three, the newest message stays, with the answers of single calls.
pub async fn the_newest_of_a_topic_stays_within_one_call(parts: Parts) {
    for (round, order) in (1..).zip(ORDERS) {
        let accepted = parts.three(round).await;
        let batch = order.map(|at| Arc::clone(&accepted[at])).to_vec();
        let answers = parts.mailbox.store(batch).await.expect("store answers");
        assert_eq!(answers[order.iter().position(|at| *at == 2).expect("all three")], Stored::Kept);
        assert_eq!(parts.waiting(round).await, [Message::clone(&accepted[2])], "the newest, after {order:?}");
        let rounds = u64::from(round);
        parts.assert_account(rounds, &[(Outcome::Replaced, 2 * rounds)]).await;
    }
}

/// A message with a lower sequence, stored later, ends and does not replace the newer one.
pub async fn a_late_older_message_does_not_replace(parts: Parts) {
    let accepted = parts.three(1).await;
    assert_eq!(parts.store(&accepted[1]).await, Stored::Kept);
    assert_eq!(parts.store(&accepted[0]).await, REPLACED);
    assert_eq!(parts.waiting(1).await, [Message::clone(&accepted[1])], "the newer one waits on");
    let mut parts = parts.reopened().await;
    assert_eq!(parts.waiting(1).await, [Message::clone(&accepted[1])], "in the next life too");
    assert_eq!(
        parts.hand_out(1).await,
        [Arc::clone(&accepted[2])],
        "what was not stored is still in the log"
    );
    parts.assert_account(2, &[(Outcome::Replaced, 1)]).await;
}

/// A repeated store answers again that the older message was replaced, and counts it once.
pub async fn a_replaced_message_answers_the_same_again(parts: Parts) {
    let accepted = parts.three(1).await;
    for _ in 0..2 {
        assert_eq!(parts.store(&accepted[2]).await, Stored::Kept);
        assert_eq!(parts.store(&accepted[0]).await, REPLACED);
        assert_eq!(parts.store(&accepted[1]).await, REPLACED);
    }
    parts.assert_account(1, &[(Outcome::Replaced, 2)]).await;
}

/// A topic belongs to one channel of one user agent.
pub async fn a_topic_is_of_one_subscription(parts: Parts) {
    for (label, to) in (1..).zip([subscription(1, 1), subscription(1, 2), subscription(2, 1)]) {
        parts.subscribe(to).await;
        assert_eq!(parts.store_topic(to, label, "t").await, Stored::Kept);
    }
    parts.assert_waiting(1, &[1, 2], "two channels, two messages").await;
    parts.assert_waiting(2, &[3], "another user agent, another message").await;
    parts.assert_account(3, &[]).await;
}

/// A message for a new incarnation of a channel replaces none of the one before: those end otherwise.
pub async fn a_topic_is_of_one_incarnation(parts: Parts) {
    let (first, second) = (subscription(1, 1), reborn(subscription(1, 1)));
    parts.subscribe(first).await;
    assert_eq!(parts.store_topic(first, 1, "t").await, Stored::Kept);
    let new = Subscription {
        id: second,
        restriction: Restriction::Open,
        seen_at: parts.now,
        is_noted: true,
        webhook: None,
    };
    assert_eq!(parts.subscriptions.put(Some(first), new.clone()).await.expect("put answers"), Some(new));
    assert_eq!(parts.store_topic(second, 2, "t").await, Stored::Kept);
    parts.assert_waiting(1, &[1, 2], "both wait").await;
    assert!(parts.remove(second).await);
    parts.assert_account(0, &[(Outcome::Unsubscribed, 2)]).await;
}

/// Topics differ by case, and messages without a topic replace nothing.
pub async fn topics_are_compared_octet_by_octet(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    parts.keep(to, [1, 2]).await;
    for (label, text) in [(3, "t"), (4, "T"), (5, "t1"), (6, "t-")] {
        assert_eq!(parts.store_topic(to, label, text).await, Stored::Kept);
    }
    parts.keep(to, [7]).await;
    parts.assert_waiting(1, &[1, 2, 3, 4, 5, 6, 7], "none replaced another").await;
    parts.assert_account(7, &[]).await;
}

/// A topic, and keys of other dialects with the same text: each replaces only messages of its own namespace,
/// and the next life of the store knows all of them.
pub async fn a_key_of_one_namespace_replaces_none_of_another(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    for (label, key) in (1..).zip(["t", "one:t", "other:t", "one:other:t"]) {
        assert_eq!(parts.store_topic(to, label, key).await, Stored::Kept);
    }
    parts.assert_waiting(1, &[1, 2, 3, 4], "none has replaced another").await;
    let parts = parts.reopened().await;
    assert_eq!(parts.store_topic(to, 5, "one:t").await, Stored::Kept);
    parts.assert_waiting(1, &[1, 3, 4, 5], "the one of its namespace is replaced").await;
    assert_eq!(parts.store_topic(to, 6, "t").await, Stored::Kept);
    parts.assert_waiting(1, &[3, 4, 5, 6], "the topic is replaced").await;
    parts.assert_account(4, &[(Outcome::Replaced, 2)]).await;
}

/// An ended message is not replaced: the next one of the topic is stored like the first.
pub async fn a_topic_is_free_again_when_its_message_ended(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    assert_eq!(parts.store_topic(to, 1, "t").await, Stored::Kept);
    assert_eq!(parts.settle(1, &[(1, Outcome::Delivered)]).await, [true]);
    assert_eq!(parts.store_topic(to, 2, "t").await, Stored::Kept);
    parts.assert_waiting(1, &[2], "the second message waits").await;
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
}

impl Parts {
    /// Three messages of one topic to one subscription of the user agent `of`, in the log.
    async fn three(&self, of: u8) -> Vec<Arc<Message>> {
        let to = subscription(of, 1);
        self.subscribe(to).await;
        let mut accepted = Vec::new();
        for label in 0..3 {
            let sent = message(to, u64::from(of) * 100 + label, self.now);
            accepted.push(self.accept(Message { topic: Some(topic("t")), ..sent }).await);
        }
        accepted
    }

    async fn store_topic(&self, to: SubscriptionRef, label: u64, text: &str) -> Stored {
        let sent = Message { topic: Some(topic(text)), ..message(to, label, self.now) };
        let accepted = self.accept(sent).await;
        self.store(&accepted).await
    }
}
