//! Checks of [`pushgrid_store::Mailbox::settle`]: first outcome, durability, foreign ids.

use std::sync::Arc;

use pushgrid_types::{DropReason, Outcome};

use super::support::{message_id, subscription, user_agent};
use super::{Parts, checks};

checks!(
    settle_answers_for_each_id_in_order,
    the_first_outcome_counts,
    of_two_settles_at_once_one_wins,
    unknown_ids_are_passed_over,
    ids_of_other_user_agents_are_passed_over,
    a_message_in_the_log_is_not_there,
    what_was_settled_stays_settled,
    a_settled_message_leaves_its_neighbours,
);

/// Answers are in the order of the ids.
pub async fn settle_answers_for_each_id_in_order(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), [1, 2, 3]).await;
    let ended = [(3, Outcome::Delivered), (9, Outcome::Delivered), (1, Outcome::Undecryptable)];
    assert_eq!(parts.settle(1, &ended).await, [true, false, true]);
    parts.assert_waiting(1, &[2], "the one that was not named waits on").await;
    parts.assert_account(1, &[(Outcome::Delivered, 1), (Outcome::Undecryptable, 1)]).await;
}

/// A message ends once, with its first outcome, in one call and over several.
pub async fn the_first_outcome_counts(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), [1, 2]).await;
    let twice = [(1, Outcome::Cancelled), (1, Outcome::Delivered)];
    assert_eq!(parts.settle(1, &twice).await, [true, false]);
    assert_eq!(parts.settle(1, &[(2, Outcome::Delivered)]).await, [true]);
    assert_eq!(parts.settle(1, &[(2, Outcome::Cancelled), (1, Outcome::Delivered)]).await, [false, false]);
    parts.assert_account(0, &[(Outcome::Cancelled, 1), (Outcome::Delivered, 1)]).await;
}

/// Of two concurrent calls one ends the message.
pub async fn of_two_settles_at_once_one_wins(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), 0..20).await;
    let settle = |outcome| {
        let mailbox = Arc::clone(&parts.mailbox);
        let ended = (0..20).map(|label| (message_id(label), outcome)).collect();
        tokio::spawn(async move { mailbox.settle(user_agent(1), ended).await.expect("settle answers") })
    };
    let (delivered, cancelled) = tokio::join!(settle(Outcome::Delivered), settle(Outcome::Cancelled));
    let delivered = delivered.expect("settle does not panic");
    let cancelled = cancelled.expect("settle does not panic");
    for (one, other) in delivered.iter().zip(&cancelled) {
        assert!(one ^ other, "exactly one of the two calls ends each message");
    }
    let count = |answers: &[bool]| answers.iter().map(|it| u64::from(*it)).sum();
    let ended = [(Outcome::Delivered, count(&delivered)), (Outcome::Cancelled, count(&cancelled))];
    parts.assert_account(0, &ended).await;
}

/// Unknown ids, also of an unknown user agent, are answered "not there".
pub async fn unknown_ids_are_passed_over(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), [1]).await;
    assert_eq!(parts.settle(1, &[(7, Outcome::Delivered)]).await, [false]);
    assert_eq!(parts.settle(9, &[(1, Outcome::Cancelled)]).await, [false]);
    parts.assert_waiting(1, &[1], "nothing was ended").await;
    parts.assert_account(1, &[]).await;
}

/// An id of another user agent's message ends nothing.
pub async fn ids_of_other_user_agents_are_passed_over(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.subscribe(subscription(2, 1)).await;
    parts.keep(subscription(1, 1), [1]).await;
    parts.keep(subscription(2, 1), [2]).await;
    assert_eq!(parts.settle(2, &[(1, Outcome::Delivered), (2, Outcome::Delivered)]).await, [false, true]);
    parts.assert_waiting(1, &[1], "it waits on for the one it is for").await;
    parts.assert_account(1, &[(Outcome::Delivered, 1)]).await;
}

/// Only stored messages are ended.
pub async fn a_message_in_the_log_is_not_there(mut parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    let accepted = parts.accept_all(subscription(1, 1), [1]).await;
    assert_eq!(parts.settle(1, &[(1, Outcome::Delivered)]).await, [false]);
    assert_eq!(parts.hand_out(1).await, accepted, "it is still in the log");
    parts.assert_account(1, &[]).await;
}

/// Outcomes other than [`Outcome::Delivered`] are durable at once, [`Outcome::Delivered`] lazily.
pub async fn what_was_settled_stays_settled(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), [1, 2, 3, 4]).await;
    let given_up = Outcome::Dropped(DropReason::NotDelivered);
    assert_eq!(parts.settle(1, &[(3, Outcome::Delivered)]).await, [true]);
    parts.life.rest().await;
    assert_eq!(parts.settle(1, &[(1, Outcome::Cancelled), (2, given_up)]).await, [true, true]);
    let parts = parts.reopened().await;
    parts.assert_waiting(1, &[4], "what was ended does not come back").await;
    parts.assert_account(1, &[(Outcome::Delivered, 1), (Outcome::Cancelled, 1), (given_up, 1)]).await;
}

/// Settling out of order ends the named messages, and none before or after them.
pub async fn a_settled_message_leaves_its_neighbours(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.keep(subscription(1, 1), 0..7).await;
    assert_eq!(parts.settle(1, &[(3, Outcome::Delivered)]).await, [true]);
    assert_eq!(parts.settle(1, &[(6, Outcome::Delivered), (0, Outcome::Delivered)]).await, [true, true]);
    parts.assert_waiting(1, &[1, 2, 4, 5], "the others wait on, in order").await;
    parts.assert_account(4, &[(Outcome::Delivered, 3)]).await;
}
