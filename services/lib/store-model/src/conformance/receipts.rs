//! Receipts of messages (RFC 8030 sections 5.1 and 6.3), made by the store that ends a message.

use std::sync::Arc;

use pushgrid_store::{End, Stored};
use pushgrid_types::{
    Content, DropReason, Message, MessageRef, Outcome, Receipt, ReceiptRequest, SubscriptionRef, Ttl,
    UserAgentId,
};

use super::support::{living, message, message_id, subscription, topic};
use super::{Parts, checks};

checks!(
    an_end_in_the_log_gives_the_receipt_that_was_asked_for,
    an_end_in_the_mailbox_gives_its_receipt,
    what_ends_instead_of_being_stored_gives_its_receipt,
    a_message_that_is_replaced_or_taken_back_gives_none,
    a_text_that_looks_like_a_wish_is_none,
    an_end_that_comes_twice_gives_one_receipt,
    a_receipt_outlives_the_life_in_which_it_was_made,
);

/// The receipt subscription.
pub(super) fn receipts() -> SubscriptionRef {
    subscription(200, 1)
}

pub(super) fn asking(message: Message) -> Message {
    let asked = ReceiptRequest { to: receipts(), ttl: Ttl::from_secs(900) };
    Message { receipt: Some(Box::new(asked)), ..message }
}

impl Parts {
    /// Takes the receipts of these ends from the log, in any order, and checks that nothing else is there.
    async fn assert_receipts(&mut self, expected: &[(&Message, Outcome)]) {
        self.life.rest().await;
        let mut found = self.hand_out(expected.len()).await;
        found.sort_unstable_by_key(|receipt| Receipt::of(receipt).map(|it| it.message.sequence));
        for (receipt, (message, outcome)) in found.iter().zip(expected) {
            let Message { id, to, sequence, .. } = **message;
            let (user_agent, channel) = (to.user_agent, to.channel);
            let of = MessageRef { user_agent, channel, id, sequence };
            let says = Receipt { message: of, outcome: *outcome, ended_at: self.now };
            assert_eq!(Receipt::of(receipt), Some(says), "which message has ended, how and when");
            assert_eq!(receipt.to, receipts(), "to the receipt subscription");
            assert_eq!(receipt.accepted_at, self.now);
            assert_eq!(receipt.ttl, Ttl::from_secs(900), "with the time to live that was asked for");
            self.consumer.settle(vec![End::of(receipt, Outcome::Delivered)]);
        }
        self.assert_log_is_empty().await;
    }

    async fn accept_asking(&self, to: SubscriptionRef, label: u64) -> Arc<Message> {
        self.accept(asking(message(to, label, self.now))).await
    }
}

/// Every outcome of a message that was never stored: a receipt where one is due, and none without a wish.
pub async fn an_end_in_the_log_gives_the_receipt_that_was_asked_for(mut parts: Parts) {
    let to = subscription(1, 1);
    let mut ended = Vec::new();
    for (label, outcome) in (1..).zip([
        Outcome::Delivered,
        Outcome::Expired,
        Outcome::Unsubscribed,
        Outcome::Undecryptable,
        Outcome::Dropped(DropReason::NotDelivered),
        Outcome::Replaced,
        Outcome::Cancelled,
    ]) {
        ended.push((parts.accept_asking(to, label).await, outcome));
    }
    let plain = parts.accept(message(to, 99, parts.now)).await;
    parts.hand_out(ended.len() + 1).await;
    let mut ends: Vec<_> = ended.iter().map(|(message, outcome)| End::of(message, *outcome)).collect();
    ends.push(End::of(&plain, Outcome::Delivered));
    parts.consumer.settle(ends);
    let expected: Vec<_> = ended[..5].iter().map(|(message, outcome)| (&**message, *outcome)).collect();
    parts.assert_receipts(&expected).await;
}

/// Waiting messages that are acknowledged, expire, or lose their subscription.
pub async fn an_end_in_the_mailbox_gives_its_receipt(mut parts: Parts) {
    let (to, other) = (subscription(1, 1), subscription(1, 2));
    parts.subscribe(to).await;
    parts.subscribe(other).await;
    let acknowledged = parts.accept_asking(to, 1).await;
    let short = parts.accept(asking(living(1, message(to, 2, parts.now)))).await;
    let unsubscribed = parts.accept_asking(other, 3).await;
    let plain = parts.accept(message(to, 4, parts.now)).await;
    parts.hand_out(4).await;
    for message in [&acknowledged, &short, &unsubscribed, &plain] {
        assert_eq!(parts.store(message).await, Stored::Kept);
    }
    let waiting = parts.waiting(1).await;
    assert_eq!(waiting[0].receipt, acknowledged.receipt, "the wish is stored with its message");
    parts.settle(1, &[(1, Outcome::Delivered), (4, Outcome::Delivered)]).await;
    assert_eq!(parts.mailbox.expire(short.expires_at, 10).await.expect("expire answers"), 1);
    assert!(parts.remove(other).await);
    let expected = [
        (&*acknowledged, Outcome::Delivered),
        (&*short, Outcome::Expired),
        (&*unsubscribed, Outcome::Unsubscribed),
    ];
    parts.assert_receipts(&expected).await;
}

/// A message without a live subscription.
pub async fn what_ends_instead_of_being_stored_gives_its_receipt(mut parts: Parts) {
    let stranger = parts.accept_asking(subscription(1, 1), 1).await;
    parts.hand_out(1).await;
    assert_eq!(parts.store(&stranger).await, Stored::Ended(Outcome::Unsubscribed));
    parts.assert_receipts(&[(&*stranger, Outcome::Unsubscribed)]).await;
}

/// RFC 8030 section 5.4: a replacement stands for all that was asked for with the replaced message; its own wish counts
/// alone.
pub async fn a_message_that_is_replaced_or_taken_back_gives_none(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let of_topic = |label, text| Message { topic: Some(topic(text)), ..message(to, label, parts.now) };
    let first = parts.accept(asking(of_topic(1, "t"))).await;
    let second = parts.accept(of_topic(2, "t")).await;
    let third = parts.accept(of_topic(3, "u")).await;
    let fourth = parts.accept(asking(of_topic(4, "u"))).await;
    let cancelled = parts.accept_asking(to, 5).await;
    parts.hand_out(5).await;
    for message in [&first, &second, &third, &fourth, &cancelled] {
        parts.store(message).await;
    }
    let ends =
        [(1, Outcome::Delivered), (2, Outcome::Delivered), (4, Outcome::Delivered), (5, Outcome::Cancelled)];
    assert_eq!(parts.settle(1, &ends).await, [false, true, true, true]);
    parts.assert_receipts(&[(&*fourth, Outcome::Delivered)]).await;
}

/// Fields of a message are the sender's, and may end in any octets.
pub async fn a_text_that_looks_like_a_wish_is_none(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    // Number and length of the field of a wish in the stored form, and as many octets.
    let text = format!("text/z0{}", "a".repeat(ReceiptRequest::SIZE));
    let typed = |label, message: Message| {
        let content = Content { content_type: Some(text.clone().into()), ..message.content.clone() };
        Message { id: message_id(label), content, ..message }
    };
    let plain = parts.accept(typed(1, message(to, 1, parts.now))).await;
    let asking = parts.accept(typed(2, asking(message(to, 2, parts.now)))).await;
    parts.hand_out(2).await;
    for message in [&plain, &asking] {
        parts.store(message).await;
    }
    parts.settle(1, &[(1, Outcome::Delivered), (2, Outcome::Delivered)]).await;
    parts.assert_receipts(&[(&*asking, Outcome::Delivered)]).await;
}

/// A second outcome, and a second report of the same, in the log and in the mailbox.
pub async fn an_end_that_comes_twice_gives_one_receipt(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let (logged, stored) = (parts.accept_asking(to, 1).await, parts.accept_asking(to, 2).await);
    parts.hand_out(2).await;
    parts.store(&stored).await;
    for outcome in [Outcome::Delivered, Outcome::Delivered, Outcome::Expired] {
        parts.consumer.settle(vec![End::of(&logged, outcome)]);
        parts.settle(1, &[(2, outcome)]).await;
        parts.life.rest().await;
    }
    parts.assert_receipts(&[(&*logged, Outcome::Delivered), (&*stored, Outcome::Delivered)]).await;
}

/// The receipt is as durable as any message, and goes to the next life with the end that it tells of.
pub async fn a_receipt_outlives_the_life_in_which_it_was_made(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    parts.subscribe(receipts()).await;
    let (logged, stored) = (parts.accept_asking(to, 1).await, parts.accept_asking(to, 2).await);
    parts.hand_out(2).await;
    parts.store(&stored).await;
    parts.consumer.settle(vec![End::of(&logged, Outcome::Delivered)]);
    parts.settle(1, &[(2, Outcome::Delivered)]).await;
    parts.life.rest().await;
    let mut next = parts.reopened().await;
    next.assert_waiting(1, &[], "the messages have ended").await;
    let user_agent: UserAgentId = receipts().user_agent;
    let taken = next.hand_out(2).await;
    assert!(taken.iter().all(|receipt| receipt.to.user_agent == user_agent));
    let answers = next.mailbox.store(taken).await.expect("store answers");
    assert_eq!(answers, [Stored::Kept; 2], "a receipt is stored like any message");
    assert_eq!(next.waiting(200).await.len(), 2);
}
