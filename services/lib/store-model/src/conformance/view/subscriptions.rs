//! Checks of subscriptions in a view.

use pushgrid_types::{Restriction, Timestamp, VapidKeyHash};

use super::super::support::{channel, reborn, subscription, user_agent};
use super::{NOW, Owner, checks};
use pushgrid_store::{Change, Subscription};

checks!(
    a_subscription_is_found_as_it_was_made,
    a_channel_has_one_life_at_a_time,
    the_end_of_an_earlier_life_is_not_the_end_of_the_later,
    changes_of_one_call_happen_in_their_order,
    what_is_there_already_changes_nothing,
    answers_stand_in_the_order_of_the_questions,
    all_and_a_sweep_hand_out_what_is_there,
);

async fn find(owner: &Owner, of: u8, on: u8) -> Option<Subscription> {
    let asked = [(user_agent(of), channel(on))];
    let found = owner.view.find(owner.barrier, &asked).await.expect("find answers");
    assert_eq!(found.len(), 1, "find answers once for each channel");
    found[0].clone()
}

async fn count(owner: &Owner, of: u8) -> usize {
    owner.view.count(owner.barrier, user_agent(of)).await.expect("count answers")
}

/// A subscription is kept with its key, if any, and its time to the millisecond.
async fn a_subscription_is_found_as_it_was_made(mut owner: Owner) {
    let open = Subscription {
        id: subscription(1, 1),
        restriction: Restriction::Open,
        seen_at: Timestamp::from_millis(1_700_000_000_123),
        is_noted: true,
        webhook: None,
    };
    let key = std::array::from_fn(|at| u8::try_from(at * 8).expect("less than 256"));
    let restricted = Subscription {
        id: subscription(1, 2),
        restriction: Restriction::VapidKey(VapidKeyHash(key)),
        seen_at: NOW,
        is_noted: true,
        webhook: None,
    };
    owner.tell(&[Change::Subscribed(open.clone()), Change::Subscribed(restricted.clone())]).await;
    assert_eq!(find(&owner, 1, 1).await, Some(open.clone()));
    assert_eq!(find(&owner, 1, 2).await, Some(restricted.clone()));
    assert_eq!(find(&owner, 1, 3).await, None, "another channel");
    assert_eq!(find(&owner, 2, 1).await, None, "another user agent");
    assert_eq!((count(&owner, 1).await, count(&owner, 2).await), (2, 0));
    assert!(owner.alive(open.id).await && owner.alive(restricted.id).await);
}

/// A later incarnation replaces the earlier one.
async fn a_channel_has_one_life_at_a_time(mut owner: Owner) {
    let (first, second) = (subscription(1, 1), reborn(subscription(1, 1)));
    owner.subscribe(first).await;
    assert!(!owner.alive(second).await, "another life of the channel is not alive");
    let later = owner.subscribe(second).await;
    assert!(!owner.alive(first).await && owner.alive(second).await);
    assert_eq!(find(&owner, 1, 1).await, Some(later));
    assert_eq!(count(&owner, 1).await, 1, "it is one channel");
}

/// The end of a replaced incarnation does not end the later one.
async fn the_end_of_an_earlier_life_is_not_the_end_of_the_later(mut owner: Owner) {
    let (first, second) = (subscription(1, 1), reborn(subscription(1, 1)));
    owner.subscribe(first).await;
    owner.subscribe(second).await;
    owner.tell(&[Change::Unsubscribed(first)]).await;
    assert!(owner.alive(second).await, "the later life goes on");
    owner.tell(&[Change::Unsubscribed(second)]).await;
    assert_eq!(find(&owner, 1, 1).await, None);
    assert_eq!(count(&owner, 1).await, 0);
    owner.tell(&[Change::Unsubscribed(second), Change::Unsubscribed(subscription(7, 7))]).await;
}

/// Changes of one call take effect in order.
async fn changes_of_one_call_happen_in_their_order(mut owner: Owner) {
    let (first, second) = (subscription(1, 1), reborn(subscription(1, 1)));
    let of =
        |id| Subscription { id, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook: None };
    owner
        .tell(&[
            Change::Subscribed(of(first)),
            Change::Unsubscribed(first),
            Change::Subscribed(of(second)),
            Change::Claimed,
            Change::Subscribed(of(subscription(2, 1))),
            Change::Unsubscribed(subscription(2, 1)),
        ])
        .await;
    assert!(!owner.alive(first).await && owner.alive(second).await);
    assert!(!owner.alive(subscription(2, 1)).await);
    assert_eq!(count(&owner, 2).await, 0);
}

/// Changes applied again change nothing.
async fn what_is_there_already_changes_nothing(mut owner: Owner) {
    let made = owner.subscribe(subscription(1, 1)).await;
    owner.tell(&[Change::Subscribed(made.clone()), Change::Subscribed(made.clone())]).await;
    assert_eq!(find(&owner, 1, 1).await, Some(made));
    assert_eq!(count(&owner, 1).await, 1);
}

/// One answer for each question, also a repeated one, in order; none for none.
async fn answers_stand_in_the_order_of_the_questions(mut owner: Owner) {
    let one = owner.subscribe(subscription(1, 1)).await;
    let two = owner.subscribe(subscription(2, 2)).await;
    let asked = [(2, 2), (9, 9), (1, 1), (2, 2)].map(|(of, on)| (user_agent(of), channel(on)));
    let found = owner.view.find(owner.barrier, &asked).await.expect("find answers");
    assert_eq!(found, [Some(two.clone()), None, Some(one.clone()), Some(two.clone())]);
    let asked = [reborn(one.id), two.id, one.id, subscription(9, 9), one.id];
    let alive = owner.view.alive(owner.barrier, &asked).await.expect("alive answers");
    assert_eq!(alive, [false, true, true, false, true]);
    assert_eq!(owner.view.find(owner.barrier, &[]).await.expect("find answers"), []);
    assert!(owner.view.alive(owner.barrier, &[]).await.expect("alive answers").is_empty());
}

/// All subscriptions of a user agent, with and without a noted visit, and a sweep through those of all.
async fn all_and_a_sweep_hand_out_what_is_there(mut owner: Owner) {
    let mut made = Vec::new();
    for (of, on) in (1..=5).flat_map(|of| (1..=2).map(move |on| (of, on))) {
        let id = subscription(of, on);
        let it = Subscription {
            id,
            restriction: Restriction::Open,
            seen_at: NOW,
            is_noted: on == 1,
            webhook: None,
        };
        owner.tell(&[Change::Subscribed(it.clone())]).await;
        made.push(it);
    }
    let sorted = |mut all: Vec<Subscription>| {
        all.sort_unstable_by_key(|it| (it.id.user_agent, it.id.channel));
        all.dedup();
        all
    };
    let all = owner.view.all(owner.barrier, user_agent(2)).await.expect("all answers");
    assert_eq!(sorted(all), made[2..4]);
    assert_eq!(owner.view.all(owner.barrier, user_agent(9)).await.expect("all answers"), []);
    let (mut swept, mut place) = (Vec::new(), None);
    loop {
        let (some, next) = owner.view.sweep(owner.barrier, place).await.expect("sweep answers");
        swept.extend(some);
        match next {
            Some(_) => place = next,
            None => break,
        }
    }
    assert_eq!(sorted(swept), made);
}
