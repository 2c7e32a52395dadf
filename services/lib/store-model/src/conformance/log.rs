//! Checks of [`pushgrid_store::EventLog`] and [`pushgrid_store::LogConsumer`]: order, redelivery, outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgrid_types::{Content, Message, Outcome, Sequence, Urgency};
use tokio::task::JoinSet;
use tokio::time::timeout;

use pushgrid_store::End;

use super::receipts::{asking, receipts};
use super::support::{message, poll_once, subscription, topic};
use super::{Parts, checks};

/// Time to leave a consumer waiting.
const GLIMPSE: Duration = Duration::from_millis(5);

/// Deadline for an adapter to pass over ended messages.
const PATIENCE: Duration = Duration::from_secs(20);

checks!(
    sequences_rise,
    concurrent_appends_get_places_of_their_own_and_all_come_out,
    a_message_comes_out_as_it_went_in,
    hand_out_is_in_order_and_within_the_limit,
    hand_out_waits_for_a_message,
    a_dropped_next_loses_nothing,
    what_was_not_settled_comes_again,
    what_was_settled_does_not_come_again,
    what_was_flushed_does_not_come_again_after_a_crash,
    a_flush_without_anything_settled_succeeds,
    sequences_rise_across_lives,
    the_first_outcome_of_a_logged_message_counts,
    a_message_that_was_moved_is_not_ended_here,
    every_outcome_has_its_entry,
    what_has_been_read_ends_before_what_is_to_come,
    what_an_earlier_life_may_have_read_is_read_to_its_end,
);

/// A later append has a higher sequence; none is zero, which means "no place yet".
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

/// Concurrent appends get distinct sequences, and the log hands all messages out in the order of the
/// sequences.
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

/// A message passes the log unchanged, with its sequence filled in.
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

/// Messages are handed out oldest first, at least one and at most the limit, each once.
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

/// On an empty log `next` waits, and returns the message appended meanwhile.
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

/// `next` is cancel safe: dropping the future loses no message.
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

/// A message not settled is redelivered in the next life (promise P3).
pub async fn what_was_not_settled_comes_again(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..10).await;
    parts.hand_out(6).await;
    let mut parts = parts.reopened().await;
    assert_eq!(parts.hand_out(10).await, accepted, "all come again, as they were");
    parts.assert_account(10, &[]).await;
}

/// A settled message is not redelivered once the settlement is durable.
pub async fn what_was_settled_does_not_come_again(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..10).await;
    parts.hand_out(8).await;
    let settled = [0, 1, 3, 7].map(|at: usize| End::of(&accepted[at], Outcome::Delivered));
    parts.consumer.settle(settled.to_vec());
    parts.assert_account(6, &[(Outcome::Delivered, 4)]).await;
    let mut parts = parts.reopened().await;
    let left: Vec<_> = [2, 4, 5, 6, 8, 9].map(|at: usize| Arc::clone(&accepted[at])).to_vec();
    assert_eq!(parts.hand_out(6).await, left, "only what was not settled comes again");
    parts.assert_account(6, &[(Outcome::Delivered, 4)]).await;
    parts.assert_log_is_empty().await;
    parts.assert_account(6, &[(Outcome::Delivered, 4), (Outcome::Cancelled, 1)]).await;
}

/// Every end settled before a flush is durable when the flush returns, also one out of order, and that of a message
/// whose receipt has to be in the log before.
pub async fn what_was_flushed_does_not_come_again_after_a_crash(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..10).await;
    let asking = asking(message(subscription(1, 1), 10, parts.now));
    let asking = parts.accept(asking).await;
    parts.hand_out(11).await;
    let settled = [1, 2, 7].map(|at: usize| End::of(&accepted[at], Outcome::Cancelled));
    parts.consumer.settle(settled.to_vec());
    parts.consumer.settle(vec![End::of(&asking, Outcome::Delivered)]);
    parts.consumer.settle(vec![End::of(&accepted[9], Outcome::Cancelled)]);
    parts.consumer.flush().await.expect("flush answers");
    // No rest before: nothing else makes the ends durable.
    let mut parts = parts.reopened().await;
    let left: Vec<_> = [0, 3, 4, 5, 6, 8].map(|at: usize| Arc::clone(&accepted[at])).to_vec();
    assert_eq!(parts.hand_out(6).await, left, "only what was not settled comes again");
    let receipt = parts.hand_out(1).await;
    assert_eq!(receipt[0].to, receipts(), "and then the receipt");
    parts.assert_account(7, &[(Outcome::Cancelled, 4), (Outcome::Delivered, 1)]).await;
}

/// A flush asks nothing before it is polled, and can be dropped.
pub async fn a_flush_without_anything_settled_succeeds(mut parts: Parts) {
    parts.consumer.flush().await.expect("flush answers");
    let accepted = parts.accept_all(subscription(1, 1), 0..2).await;
    parts.hand_out(2).await;
    parts.consumer.settle(vec![End::of(&accepted[0], Outcome::Cancelled)]);
    drop(parts.consumer.flush());
    drop(poll_once(parts.consumer.flush()));
    parts.consumer.flush().await.expect("flush answers");
    let mut parts = parts.reopened().await;
    assert_eq!(parts.hand_out(1).await, accepted[1..]);
    parts.assert_account(1, &[(Outcome::Cancelled, 1)]).await;
}

/// A sequence is never reused, even when all messages with the highest ones are gone.
pub async fn sequences_rise_across_lives(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..5).await;
    let last = accepted[4].sequence;
    parts.hand_out(5).await;
    parts.consumer.settle(accepted.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
    parts.assert_account(0, &[(Outcome::Delivered, 5)]).await;
    let mut parts = parts.reopened().await;
    let next = parts.accept(message(subscription(1, 1), 5, parts.now)).await;
    assert!(next.sequence > last, "{:?} was given after {last:?}, in another life", next.sequence);
    assert_eq!(parts.hand_out(1).await, [next]);
    parts.assert_account(1, &[(Outcome::Delivered, 5)]).await;
}

/// A message ends once: a second outcome, and one of an unknown sequence, are ignored.
pub async fn the_first_outcome_of_a_logged_message_counts(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..2).await;
    parts.hand_out(2).await;
    let (first, second) = (&*accepted[0], &*accepted[1]);
    parts.consumer.settle(vec![End::of(first, Outcome::Delivered), End::of(first, Outcome::Expired)]);
    let unknown = End { sequence: Sequence(second.sequence.0 + 1000), ..End::of(second, Outcome::Delivered) };
    parts.consumer.settle(vec![End::of(first, Outcome::Cancelled), unknown]);
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
    parts.consumer.settle(vec![End::of(second, Outcome::Expired)]);
    parts.assert_account(0, &[(Outcome::Delivered, 1), (Outcome::Expired, 1)]).await;
}

/// A message in the mailbox is not ended by the log.
pub async fn a_message_that_was_moved_is_not_ended_here(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let stored = parts.keep(to, [1]).await;
    let logged = parts.accept(message(to, 2, parts.now)).await;
    let settled = vec![End::of(&stored[0], Outcome::Delivered), End::of(&logged, Outcome::Delivered)];
    parts.consumer.settle(settled);
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
    parts.assert_waiting(1, &[1], "it waits on").await;
    parts.assert_log_is_empty().await;
}

/// Each outcome has its own entry in the account, also in the next life.
pub async fn every_outcome_has_its_entry(mut parts: Parts) {
    let count = u64::try_from(Outcome::ALL.len()).expect("there are few outcomes");
    let accepted = parts.accept_all(subscription(1, 1), 0..count).await;
    parts.hand_out(accepted.len()).await;
    let ended = accepted.iter().zip(Outcome::ALL).map(|(it, outcome)| End::of(it, outcome));
    parts.consumer.settle(ended.collect());
    let expected = Outcome::ALL.map(|outcome| (outcome, 1));
    parts.assert_account(0, &expected).await;
    let parts = parts.reopened().await;
    parts.assert_account(0, &expected).await;
}

/// No message before the read position is handed out any more, and the last message moves the position to the
/// end, which lies behind all messages whose append has returned.
pub async fn what_has_been_read_ends_before_what_is_to_come(mut parts: Parts) {
    let inherited_to = parts.consumer.inherited_to();
    assert!(parts.consumer.read_to() >= inherited_to, "nothing is inherited of an empty log");
    let accepted = parts.accept_all(subscription(1, 1), 0..6).await;
    let end = parts.consumer.end().get().await.expect("the log answers");
    assert!(end > accepted[5].sequence, "the log ends behind what was accepted");
    for message in &accepted {
        assert!(parts.consumer.read_to() <= message.sequence, "this one has not been handed out");
        parts.hand_out(1).await;
    }
    assert!(parts.consumer.read_to() >= end, "all have been handed out");
    assert_eq!(parts.consumer.inherited_to(), inherited_to, "what came later is no inheritance");
    parts.assert_account(6, &[]).await;
}

/// All messages accepted in an earlier life lie before the inherited end, and that end is reached, whether
/// the last of them is redelivered or has ended.
pub async fn what_an_earlier_life_may_have_read_is_read_to_its_end(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), 0..6).await;
    parts.hand_out(6).await;
    let settled = accepted[2..].iter().map(|it| End::of(it, Outcome::Delivered));
    parts.consumer.settle(settled.collect());
    parts.assert_account(2, &[(Outcome::Delivered, 4)]).await;
    let mut parts = parts.reopened().await;
    assert!(parts.consumer.inherited_to() > accepted[5].sequence);
    assert!(parts.consumer.read_to() <= accepted[0].sequence, "it comes again");
    assert_eq!(parts.hand_out(2).await, accepted[..2]);
    let reached = async {
        while parts.consumer.read_to() < parts.consumer.inherited_to() {
            // Waiting shows that no message is left.
            assert!(timeout(GLIMPSE, parts.consumer.next(1)).await.is_err());
        }
    };
    timeout(PATIENCE, reached).await.expect("what was dealt with is passed over");
    parts.assert_account(2, &[(Outcome::Delivered, 4)]).await;
}
