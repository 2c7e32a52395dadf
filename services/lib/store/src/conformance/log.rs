//! [`crate::EventLog`] and [`crate::LogConsumer`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pushgrid_types::{Content, Message, Outcome, Sequence, Urgency};
use tokio::task::JoinSet;

use super::support::{message, poll_once, subscription, topic};
use super::{Parts, checks};

checks!(
    sequences_rise,
    concurrent_appends_get_places_of_their_own_and_all_come_out,
    a_message_comes_out_as_it_went_in,
    hand_out_is_in_order_and_within_the_limit,
    hand_out_waits_for_a_message,
    a_dropped_next_loses_nothing,
    what_was_not_settled_comes_again,
    what_was_settled_does_not_come_again,
    sequences_rise_across_lives,
    the_first_outcome_of_a_logged_message_counts,
    a_message_that_was_moved_is_not_ended_here,
    every_outcome_has_its_entry,
);

/// A later append has a higher sequence, and none is zero, which means "no place yet".
pub async fn sequences_rise(parts: Parts) {
    let mut last = Sequence(0);
    for label in 0..20 {
        let to = subscription(u8::try_from(label % 3).expect("less than three"), 1);
        let sequence = parts.accept(message(to, label, parts.now)).await.sequence;
        assert!(sequence > last, "{sequence:?} was given after {last:?}");
        last = sequence;
    }
    parts.assert_account(20, &[]).await;
}

/// Appends that run at the same time get distinct sequences, and the log hands out every one in their order.
pub async fn concurrent_appends_get_places_of_their_own_and_all_come_out(mut parts: Parts) {
    let mut appends = JoinSet::new();
    for label in 0..200 {
        let (log, now) = (Arc::clone(&parts.log), parts.now);
        appends.spawn(async move {
            let message = message(subscription(1, 1), label, now);
            (log.append(message.clone()).await.expect("append answers"), message.id)
        });
    }
    let accepted: BTreeMap<_, _> = appends.join_all().await.into_iter().collect();
    assert_eq!(accepted.len(), 200, "no two messages have the same sequence");
    let handed_out: Vec<_> = parts.hand_out(200).await.iter().map(|it| (it.sequence, it.id)).collect();
    assert_eq!(handed_out, Vec::from_iter(accepted), "all come out, in the order of their sequences");
    parts.assert_account(200, &[]).await;
}

/// Nothing of a message is lost or changed on its way through the log; its sequence is filled in.
pub async fn a_message_comes_out_as_it_went_in(mut parts: Parts) {
    let plain = message(subscription(1, 1), 1, parts.now);
    let full = Message {
        urgency: Urgency::High,
        topic: Some(topic("a-Topic_of-32-characters-exactly")),
        content: Content {
            body: Bytes::from((0..=255).cycle().take(5000).collect::<Vec<u8>>()),
            encoding: Some("aesgcm".into()),
            encryption: Some("salt=c2FsdA".into()),
            crypto_key: Some("dh=ZGg".into()),
            content_type: Some("text/plain;charset=utf-8".into()),
            ..Content::default()
        },
        ..message(subscription(1, 2), 2, parts.now)
    };
    let empty = Message { content: Content::default(), ..message(subscription(1, 3), 3, parts.now) };
    for sent in [plain, full, empty] {
        let accepted = parts.accept(sent).await;
        assert_eq!(parts.hand_out(1).await, [accepted], "the message comes out as it went in");
    }
    let mut parts = parts.reopened().await;
    let again = parts.hand_out(3).await;
    assert_eq!(again[1].content.body.len(), 5000, "and in the next life too");
    assert_eq!(again[1].topic, Some(topic("a-Topic_of-32-characters-exactly")), "with its topic");
    assert_eq!(again[1].content.content_type.as_deref(), Some("text/plain;charset=utf-8"));
    assert_eq!(again[2].content, Content::default(), "an empty body stays an empty body");
    parts.assert_account(3, &[]).await;
}

/// Oldest first, at least one and at most as many as were asked for, none left out and none twice.
pub async fn hand_out_is_in_order_and_within_the_limit(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..30).await;
    let mut handed_out = Vec::new();
    for limit in [1, 2, 3, 5, 8] {
        let batch = parts.consumer.next(limit).await.expect("next answers");
        assert!((1..=limit).contains(&batch.len()), "{} messages for a limit of {limit}", batch.len());
        handed_out.extend(batch);
    }
    let rest = accepted.len() - handed_out.len();
    handed_out.extend(parts.hand_out(rest).await);
    assert_eq!(handed_out, accepted, "every message once, in the order of the sequences");
    parts.assert_account(30, &[]).await;
}

/// With nothing to hand out `next` waits; the message that comes then is its answer.
pub async fn hand_out_waits_for_a_message(mut parts: Parts) {
    assert!(poll_once(parts.consumer.next(10)).is_none(), "next waits while the log is empty");
    let log = Arc::clone(&parts.log);
    let sent = message(subscription(1, 1), 1, parts.now);
    let append = tokio::spawn(async move { log.append(sent).await.expect("append answers") });
    let batch = parts.consumer.next(10).await.expect("next answers");
    let sequence = append.await.expect("the append does not panic");
    assert_eq!(batch.iter().map(|it| it.sequence).collect::<Vec<_>>(), [sequence], "the message wakes it");
    parts.assert_account(1, &[]).await;
}

/// `next` is cancel safe: a future that was dropped took nothing with it.
pub async fn a_dropped_next_loses_nothing(mut parts: Parts) {
    let mut handed_out = Vec::new();
    let mut accepted = Vec::new();
    for label in 0..10 {
        accepted.push(parts.accept(message(subscription(1, 1), label, parts.now)).await);
        if let Some(batch) = poll_once(parts.consumer.next(10)) {
            handed_out.extend(batch.expect("next answers"));
        }
    }
    let rest = accepted.len() - handed_out.len();
    handed_out.extend(parts.hand_out(rest).await);
    assert_eq!(handed_out, accepted, "what a dropped next had begun to hand out comes with a later one");
    parts.assert_account(10, &[]).await;
}

/// A message that was handed out and not settled, or never handed out, comes in the next life (promise P3).
pub async fn what_was_not_settled_comes_again(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..10).await;
    parts.hand_out(6).await;
    let mut parts = parts.reopened().await;
    assert_eq!(parts.hand_out(10).await, accepted, "all come again, as they were");
    parts.assert_account(10, &[]).await;
}

/// A message that was settled is not handed out again in the next life once that is written.
pub async fn what_was_settled_does_not_come_again(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..10).await;
    parts.hand_out(8).await;
    let settled = [0, 1, 3, 7].map(|at: usize| (accepted[at].sequence, Outcome::Delivered));
    parts.consumer.settle(settled.to_vec());
    parts.assert_account(6, &[(Outcome::Delivered, 4)]).await;
    let mut parts = parts.reopened().await;
    let left: Vec<_> = [2, 4, 5, 6, 8, 9].map(|at: usize| Arc::clone(&accepted[at])).to_vec();
    assert_eq!(parts.hand_out(6).await, left, "only what was not settled comes again");
    parts.assert_account(6, &[(Outcome::Delivered, 4)]).await;
    parts.assert_log_is_empty().await;
    parts.assert_account(6, &[(Outcome::Delivered, 4), (Outcome::Cancelled, 1)]).await;
}

/// A sequence is never given twice, even when nothing is left of the messages that had the highest ones.
pub async fn sequences_rise_across_lives(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..5).await;
    let last = accepted[4].sequence;
    parts.hand_out(5).await;
    parts.consumer.settle(accepted.iter().map(|it| (it.sequence, Outcome::Delivered)).collect());
    parts.assert_account(0, &[(Outcome::Delivered, 5)]).await;
    let mut parts = parts.reopened().await;
    let next = parts.accept(message(subscription(1, 1), 5, parts.now)).await;
    assert!(next.sequence > last, "{:?} was given after {last:?}, in another life", next.sequence);
    assert_eq!(parts.hand_out(1).await, [next]);
    parts.assert_account(1, &[(Outcome::Delivered, 5)]).await;
}

/// A message ends once: a second outcome, and that of an unknown sequence, are passed over.
pub async fn the_first_outcome_of_a_logged_message_counts(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..2).await;
    parts.hand_out(2).await;
    let (first, second) = (accepted[0].sequence, accepted[1].sequence);
    parts.consumer.settle(vec![(first, Outcome::Delivered), (first, Outcome::Expired)]);
    parts.consumer.settle(vec![(first, Outcome::Cancelled), (Sequence(second.0 + 1000), Outcome::Delivered)]);
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
    parts.consumer.settle(vec![(second, Outcome::Expired)]);
    parts.assert_account(0, &[(Outcome::Delivered, 1), (Outcome::Expired, 1)]).await;
}

/// A message that is in the mailbox ends there, and not by the log's account of it.
pub async fn a_message_that_was_moved_is_not_ended_here(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let stored = parts.keep(to, [1]).await;
    let logged = parts.accept(message(to, 2, parts.now)).await;
    let settled = vec![(stored[0].sequence, Outcome::Delivered), (logged.sequence, Outcome::Delivered)];
    parts.consumer.settle(settled);
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
    parts.assert_waiting(1, &[1], "it waits on").await;
    parts.assert_log_is_empty().await;
}

/// Each outcome is entered under its own name, and is still there in the next life.
pub async fn every_outcome_has_its_entry(mut parts: Parts) {
    let count = u64::try_from(Outcome::ALL.len()).expect("there are few outcomes");
    let accepted = parts.accept_all(subscription(1, 1), 0..count).await;
    parts.hand_out(accepted.len()).await;
    let ended = accepted.iter().zip(Outcome::ALL).map(|(it, outcome)| (it.sequence, outcome));
    parts.consumer.settle(ended.collect());
    let expected = Outcome::ALL.map(|outcome| (outcome, 1));
    parts.assert_account(0, &expected).await;
    let parts = parts.reopened().await;
    parts.assert_account(0, &expected).await;
}
