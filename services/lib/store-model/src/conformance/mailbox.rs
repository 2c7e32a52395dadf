//! Checks of [`pushgrid_store::Mailbox::store`], `expire` and `usage`.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{Message, Outcome, Restriction, Sequence};

use super::support::{ALL, channel, living, message, reborn, sized, subscription, topic, user_agent};
use super::{Parts, checks};
use pushgrid_store::End;
use pushgrid_store::{Stored, Subscription, Usage};

checks!(
    a_stored_message_waits_and_has_left_the_log,
    store_is_idempotent_by_sequence,
    a_message_that_ended_is_not_stored_again,
    store_answers_for_each_message_in_order,
    a_message_without_its_subscription_ends,
    a_message_of_another_incarnation_ends,
    an_empty_store_is_nothing,
    an_unsubscribe_ends_one_channel_of_one_user_agent,
    expire_ends_what_is_expired_up_to_the_limit,
    expire_finds_what_expires_later_or_after_others_ended,
    usage_is_what_waits,
);

/// A stored message is durable in the mailbox, whole, and the log never hands it out again.
pub async fn a_stored_message_waits_and_has_left_the_log(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let sent = Message { topic: Some(topic("news")), ..sized(5000, message(to, 1, parts.now)) };
    let accepted = parts.accept(sent).await;
    assert_eq!(parts.store(&accepted).await, Stored::Kept);
    assert_eq!(parts.waiting(1).await, [Message::clone(&accepted)], "it waits as it was accepted");
    parts.assert_account(1, &[]).await;
    parts.assert_log_is_empty().await;
    parts.assert_account(1, &[(Outcome::Cancelled, 1)]).await;

    let mut parts = parts.reopened().await;
    assert_eq!(parts.waiting(1).await, [Message::clone(&accepted)], "and in the next life");
    parts.assert_log_is_empty().await;
    parts.assert_account(1, &[(Outcome::Cancelled, 2)]).await;
}

/// Storing again changes nothing, in one call or in several.
pub async fn store_is_idempotent_by_sequence(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let accepted = parts.accept(message(to, 1, parts.now)).await;
    let twice = vec![Arc::clone(&accepted), Arc::clone(&accepted)];
    let answers = parts.mailbox.store(twice).await.expect("store answers");
    assert_eq!(answers, [Stored::Kept, Stored::Kept]);
    assert_eq!(parts.store(&accepted).await, Stored::Kept);
    parts.assert_waiting(1, &[1], "it waits once").await;
    parts.assert_account(1, &[]).await;
    let parts = parts.reopened().await;
    assert_eq!(parts.store(&accepted).await, Stored::Kept);
    parts.assert_waiting(1, &[1], "it waits once, in the next life too").await;
    parts.assert_account(1, &[]).await;
}

/// A store repeated after the end of its message (after a time-out) does not restore the message.
pub async fn a_message_that_ended_is_not_stored_again(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let stored = parts.keep(to, [1]).await;
    let logged = parts.accept(message(to, 2, parts.now)).await;
    parts.hand_out(1).await;
    assert_eq!(parts.settle(1, &[(1, Outcome::Delivered)]).await, [true]);
    parts.consumer.settle(vec![End::of(&logged, Outcome::Delivered)]);
    parts.assert_account(0, &[(Outcome::Delivered, 2)]).await;
    assert_eq!(parts.store(&stored[0]).await, Stored::Kept, "it has waited there before");
    parts.store(&logged).await;
    parts.assert_waiting(1, &[], "what was delivered does not wait again").await;
    parts.assert_account(0, &[(Outcome::Delivered, 2)]).await;
}

/// One call takes any mix of user agents, and answers in the order of the messages.
pub async fn store_answers_for_each_message_in_order(parts: Parts) {
    let (alive, gone, other) = (subscription(1, 1), subscription(1, 2), subscription(2, 1));
    parts.subscribe(alive).await;
    parts.subscribe(other).await;
    let mut messages = Vec::new();
    for (label, to) in [gone, alive, gone, other, alive].into_iter().enumerate() {
        let label = u64::try_from(label).expect("five messages");
        messages.push(parts.accept(message(to, label, parts.now)).await);
    }
    let answers = parts.mailbox.store(messages).await.expect("store answers");
    let ended = Stored::Ended(Outcome::Unsubscribed);
    assert_eq!(answers, [ended, Stored::Kept, ended, Stored::Kept, Stored::Kept]);
    parts.assert_waiting(1, &[1, 4], "the messages of the first user agent").await;
    parts.assert_waiting(2, &[3], "the message of the second").await;
    parts.assert_account(3, &[(Outcome::Unsubscribed, 2)]).await;
}

/// A message without a subscription, removed or never made, ends and stays ended.
pub async fn a_message_without_its_subscription_ends(mut parts: Parts) {
    let (never, removed) = (subscription(1, 1), subscription(1, 2));
    parts.subscribe(removed).await;
    let messages = vec![
        parts.accept(message(never, 1, parts.now)).await,
        parts.accept(message(removed, 2, parts.now)).await,
    ];
    parts.hand_out(2).await;
    let was_there = parts.subscriptions.remove(user_agent(1), channel(2)).await.expect("remove answers");
    assert!(was_there);
    for message in &messages {
        assert_eq!(parts.store(message).await, Stored::Ended(Outcome::Unsubscribed));
    }
    parts.assert_waiting(1, &[], "nothing waits for a user agent without subscriptions").await;
    parts.assert_account(0, &[(Outcome::Unsubscribed, 2)]).await;
    let mut parts = parts.reopened().await;
    parts.assert_log_is_empty().await;
}

/// A message for another incarnation of a channel, earlier or later, ends.
pub async fn a_message_of_another_incarnation_ends(parts: Parts) {
    let (first, second) = (subscription(1, 1), reborn(subscription(1, 1)));
    let old = parts.accept(message(first, 1, parts.now)).await;
    let new = parts.accept(message(second, 2, parts.now)).await;
    parts.subscribe(first).await;
    let replacement = Subscription {
        id: second,
        restriction: Restriction::Open,
        seen_at: parts.now,
        is_noted: true,
        webhook: None,
    };
    let there = parts.subscriptions.put(Some(first), replacement.clone()).await.expect("put answers");
    assert_eq!(there, Some(replacement));
    assert_eq!(parts.store(&old).await, Stored::Ended(Outcome::Unsubscribed));
    assert_eq!(parts.store(&new).await, Stored::Kept);
    parts.assert_waiting(1, &[2], "only the message of the living incarnation waits").await;
    parts.assert_account(1, &[(Outcome::Unsubscribed, 1)]).await;
}

/// An empty call gets an empty answer.
pub async fn an_empty_store_is_nothing(parts: Parts) {
    assert_eq!(parts.mailbox.store(Vec::new()).await.expect("store answers"), []);
    assert_eq!(parts.settle(1, &[]).await, Vec::<bool>::new());
    parts.assert_account(0, &[]).await;
}

/// The end of a subscription ends the stored messages of its channel, of any incarnation, and no message in
/// the log.
pub async fn an_unsubscribe_ends_one_channel_of_one_user_agent(parts: Parts) {
    for to in [subscription(1, 1), subscription(1, 2), subscription(2, 1)] {
        parts.subscribe(to).await;
    }
    parts.keep(subscription(1, 1), [1, 2]).await;
    parts.keep(subscription(1, 2), [3]).await;
    parts.keep(subscription(2, 1), [4]).await;
    let logged = parts.accept(message(subscription(1, 1), 5, parts.now)).await;
    assert!(parts.remove(subscription(1, 1)).await);
    parts.assert_waiting(1, &[3], "the other channel keeps its message").await;
    parts.assert_waiting(2, &[4], "the other user agent keeps its message").await;
    parts.assert_account(3, &[(Outcome::Unsubscribed, 2)]).await;
    assert!(!parts.remove(subscription(3, 1)).await, "an unknown user agent has nothing to end");
    assert!(!parts.remove(subscription(1, 1)).await, "a second time there is nothing to end");
    parts.assert_account(3, &[(Outcome::Unsubscribed, 2)]).await;

    let mut parts = parts.reopened().await;
    parts.assert_waiting(1, &[3], "the end was durable").await;
    assert_eq!(parts.hand_out(1).await, [logged], "what is in the log has not ended");
    parts.assert_account(3, &[(Outcome::Unsubscribed, 2)]).await;
}

/// Only expired messages end, up to the limit; a message is expired from its expiry on. Messages in the log
/// are untouched.
pub async fn expire_ends_what_is_expired_up_to_the_limit(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    for (label, seconds) in [(1, 10), (2, 20), (3, 10), (4, 30), (5, 10)] {
        let accepted = parts.accept(living(seconds, message(to, label, parts.now))).await;
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
    }
    parts.accept(living(10, message(to, 6, parts.now))).await;
    let expire = async |seconds_later: u64, limit| {
        let now = parts.now.plus(Duration::from_secs(seconds_later));
        parts.mailbox.expire(now, limit).await.expect("expire answers")
    };
    assert_eq!(expire(9, 10).await, 0, "nothing is expired before its time");
    assert_eq!(expire(10, 2).await, 2, "no more than the limit");
    assert_eq!(expire(10, 10).await, 1, "the rest of what is expired");
    parts.assert_waiting(1, &[2, 4], "what is not expired waits on").await;
    assert_eq!(expire(10, 10).await, 0, "nothing expires twice");
    assert_eq!(expire(3600, 10).await, 2, "all is expired at last");
    parts.assert_account(1, &[(Outcome::Expired, 5)]).await;
}

/// A message due to expire first, but ended otherwise, hides nothing from the sweep; nor does an earlier
/// sweep, a restart, or a later message with an earlier expiry.
pub async fn expire_finds_what_expires_later_or_after_others_ended(parts: Parts) {
    for of in 1..=3 {
        let to = subscription(of, 1);
        parts.subscribe(to).await;
        for (label, seconds) in [(1, 10), (2, 20), (3, 30)] {
            let sent = living(seconds, message(to, u64::from(of) * 10 + label, parts.now));
            let accepted = parts.accept(sent).await;
            assert_eq!(parts.store(&accepted).await, Stored::Kept);
        }
    }
    assert_eq!(parts.settle(1, &[(11, Outcome::Delivered)]).await, [true]);
    assert_eq!(parts.settle(2, &[(21, Outcome::Delivered), (22, Outcome::Delivered)]).await, [true, true]);
    let at = |parts: &Parts, seconds| parts.now.plus(Duration::from_secs(seconds));
    assert_eq!(
        parts.mailbox.expire(at(&parts, 10), 1).await.expect("expire answers"),
        1,
        "that of the third"
    );
    assert_eq!(parts.mailbox.expire(at(&parts, 10), 9).await.expect("expire answers"), 0);
    let parts = parts.reopened().await;
    assert_eq!(parts.mailbox.expire(at(&parts, 20), 9).await.expect("expire answers"), 2);
    let sooner = parts.accept(living(5, message(subscription(2, 1), 24, parts.now))).await;
    assert_eq!(parts.store(&sooner).await, Stored::Kept);
    assert_eq!(parts.mailbox.expire(at(&parts, 5), 9).await.expect("expire answers"), 1);
    assert_eq!(parts.mailbox.expire(at(&parts, 30), 2).await.expect("expire answers"), 2);
    assert_eq!(parts.mailbox.expire(at(&parts, 30), 2).await.expect("expire answers"), 1);
    parts.assert_account(0, &[(Outcome::Delivered, 3), (Outcome::Expired, 7)]).await;
}

/// Usage counts stored messages and octets, through every way in and out.
pub async fn usage_is_what_waits(parts: Parts) {
    let (to, other) = (subscription(1, 1), subscription(2, 1));
    parts.subscribe(to).await;
    parts.subscribe(other).await;
    parts.assert_usage(1, 0, 0).await;
    for (label, octets) in [(1, 100), (2, 200), (3, 300), (4, 400)] {
        let sent =
            sized(octets, living(10 * u32::try_from(label).expect("four"), message(to, label, parts.now)));
        let accepted = parts.accept(Message { topic: Some(topic(&format!("t{label}"))), ..sent }).await;
        parts.assert_usage(1, label - 1, (0..label).map(|it| it * 100).sum()).await;
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
    }
    parts.keep(other, [9]).await;
    parts.assert_usage(1, 4, 1000).await;
    let newer = sized(50, message(to, 5, parts.now));
    let newer = parts.accept(Message { topic: Some(topic("t4")), ..newer }).await;
    assert_eq!(parts.store(&newer).await, Stored::Kept);
    parts.assert_usage(1, 4, 650).await;
    assert_eq!(parts.settle(1, &[(2, Outcome::Delivered), (2, Outcome::Delivered)]).await, [true, false]);
    parts.assert_usage(1, 3, 450).await;
    let expired = parts.mailbox.expire(parts.now.plus(Duration::from_secs(10)), 10).await;
    assert_eq!(expired.expect("expire answers"), 1);
    parts.assert_usage(1, 2, 350).await;

    let parts = parts.reopened().await;
    parts.assert_usage(1, 2, 350).await;
    assert!(parts.remove(subscription(1, 1)).await);
    parts.assert_usage(1, 0, 0).await;
    parts.assert_usage(2, 1, 10).await;
    assert_eq!(parts.page(2, Sequence(0), ALL).await.len(), 1);
}

impl Parts {
    async fn assert_usage(&self, of: u8, messages: u64, octets: u64) {
        self.life.rest().await;
        let usage = self.mailbox.usage(user_agent(of)).await.expect("usage answers");
        assert_eq!(usage, Usage { messages, octets }, "usage is what waits for the user agent");
        assert!(self.ledger.snapshot().adds_up(), "the account adds up");
    }
}
