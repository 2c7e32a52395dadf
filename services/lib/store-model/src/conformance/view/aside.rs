//! Checks of user agents set aside and restored.

use pushgrid_types::Position;

use super::super::support::{ALL, channel, subscription, topic, user_agent};
use super::{NOW, Owner, assert_behind, assert_fenced, checks};
use pushgrid_store::{Change, PageStart, ViewError};

checks!(
    nothing_is_answered_about_who_is_set_aside,
    everybody_else_is_as_before,
    changes_of_who_is_set_aside_are_passed_over,
    who_is_restored_is_as_any_other,
    a_restoration_begins_anew_after_it_was_broken_off,
    a_restoration_that_was_broken_off_keeps_nobody_else_from_the_end,
    who_was_never_set_aside_is_not_restored,
    it_needs_the_barrier,
);

/// Two user agents with a subscription and two messages each, one of them set aside.
async fn set_up(owner: &mut Owner) -> Vec<Change> {
    let mut changes = Vec::new();
    for of in [1, 2] {
        let made = owner.subscribe(subscription(of, 1)).await;
        changes.push(Change::Subscribed(made.clone()));
        let kept = owner.keep(made.id, [u64::from(of) * 10, u64::from(of) * 10 + 1]).await;
        changes.extend(kept.iter().map(|it| owner.stores(it)));
    }
    owner.view.set_aside(owner.barrier, &[user_agent(1)]).await.expect("set_aside answers");
    changes.truncate(3);
    changes
}

async fn restore(owner: &Owner, changes: &[Change], whole: bool) {
    let restored = owner.view.restore(owner.barrier, user_agent(1), changes, whole).await;
    restored.expect("restore answers");
}

fn assert_unreadable<T: std::fmt::Debug>(answer: Result<T, ViewError>) {
    match answer {
        Err(ViewError::Unreadable(of)) => assert_eq!(of, [user_agent(1)], "it is named, once"),
        other => panic!("a user agent that is set aside got {other:?}"),
    }
}

/// No question is answered about a user agent set aside.
async fn nothing_is_answered_about_who_is_set_aside(mut owner: Owner) {
    set_up(&mut owner).await;
    let (view, barrier) = (&owner.view, owner.barrier);
    let (of, on, other) = (user_agent(1), channel(1), user_agent(2));
    let id = Owner::message(subscription(1, 1), 10).id;
    assert_unreadable(view.find(barrier, &[(other, on), (of, on), (of, channel(9))]).await);
    assert_unreadable(view.alive(barrier, &[subscription(2, 1), subscription(1, 1)]).await);
    assert_unreadable(view.stored(barrier, &[(of, id), (other, id)]).await);
    assert_unreadable(view.in_topic(barrier, &[(of, on, topic("t"))]).await);
    assert_unreadable(view.in_channel(barrier, of, on).await);
    assert_unreadable(view.count(barrier, of).await);
    assert_unreadable(view.page(barrier, of, PageStart::FIRST, NOW, ALL).await);
    assert_unreadable(view.usage(barrier, of).await);
    assert_eq!(view.complete(barrier).await.expect("complete answers"), [of]);
}

/// The other user agents are answered as if they were all of the partition.
async fn everybody_else_is_as_before(mut owner: Owner) {
    set_up(&mut owner).await;
    assert!(owner.alive(subscription(2, 1)).await);
    owner.assert_usage(2, 2, 20, 2).await;
    let due = owner.view.due(owner.barrier, NOW.plus(std::time::Duration::from_hours(2)), 10).await;
    let whose: Vec<_> = due.expect("due answers").into_iter().map(|it| it.to.user_agent).collect();
    assert_eq!(whose, [user_agent(2); 2]);
    assert_eq!(owner.begin().await, owner.barrier.position, "it has lost nothing else");
}

/// Changes of a user agent set aside are skipped, and move the view's position.
async fn changes_of_who_is_set_aside_are_passed_over(mut owner: Owner) {
    let mut changes = set_up(&mut owner).await;
    let [late, other] = [(1, 12), (2, 22)].map(|(of, label)| Owner::message(subscription(of, 1), label));
    owner.tell(&[owner.stores(&late), owner.stores(&other)]).await;
    owner.assert_usage(2, 3, 30, 3).await;
    changes.push(owner.stores(&late));
    restore(&owner, &changes, true).await;
    owner.assert_usage(1, 3, 30, 6).await;
}

/// A restoration may take several calls; until the last, no question is answered.
async fn who_is_restored_is_as_any_other(mut owner: Owner) {
    let changes = set_up(&mut owner).await;
    let (first, last) = changes.split_at(2);
    restore(&owner, first, false).await;
    assert_unreadable(owner.view.usage(owner.barrier, user_agent(1)).await);
    restore(&owner, last, true).await;
    owner.assert_usage(1, 2, 20, 4).await;
    assert!(owner.alive(subscription(1, 1)).await);
    assert_eq!(owner.view.complete(owner.barrier).await.expect("complete answers"), []);
    let ended = Owner::message(subscription(1, 1), 10);
    owner.tell(&[owner.ends(&ended)]).await;
    owner.assert_usage(1, 1, 10, 3).await;
}

/// A restarted restoration keeps nothing of the first attempt.
async fn a_restoration_begins_anew_after_it_was_broken_off(mut owner: Owner) {
    let changes = set_up(&mut owner).await;
    restore(&owner, &changes, false).await;
    owner.view.set_aside(owner.barrier, &[user_agent(1)]).await.expect("set_aside answers again");
    restore(&owner, &changes[..2], true).await;
    owner.assert_usage(1, 1, 10, 3).await;
}

/// A restoration broken off hides no other user agent, however few are listed at a time.
async fn a_restoration_that_was_broken_off_keeps_nobody_else_from_the_end(mut owner: Owner) {
    let changes = set_up(&mut owner).await;
    restore(&owner, &changes, false).await;
    let mut whose = Vec::new();
    for _ in 0..3 {
        let due = owner.view.due(owner.barrier, NOW.plus(std::time::Duration::from_hours(2)), 2).await;
        whose = due.expect("due answers").into_iter().map(|it| it.to.user_agent).collect();
    }
    assert_eq!(whose, [user_agent(2); 2]);
    owner.view.set_aside(owner.barrier, &[user_agent(1)]).await.expect("set_aside answers again");
    restore(&owner, &changes, true).await;
    owner.assert_usage(1, 2, 20, 4).await;
}

/// A user agent not set aside is not restored, and keeps all content.
async fn who_was_never_set_aside_is_not_restored(mut owner: Owner) {
    set_up(&mut owner).await;
    let changes = [Change::Unsubscribed(subscription(2, 1))];
    let answer = owner.view.restore(owner.barrier, user_agent(2), &changes, true).await;
    answer.expect("restore answers");
    assert!(owner.alive(subscription(2, 1)).await);
    restore(&owner, &[], true).await;
    owner.assert_usage(1, 0, 0, 2).await;
}

/// Setting aside and restoring need the read barrier.
async fn it_needs_the_barrier(mut owner: Owner) {
    let changes = set_up(&mut owner).await;
    let (at, of) = (owner.barrier.position.0, user_agent(1));
    assert_behind(owner.view.set_aside(owner.at(at + 1), &[user_agent(2)]).await, at);
    for from in [at - 1, at + 1] {
        assert_behind(owner.view.restore(owner.at(from), of, &changes, true).await, at);
    }
    let next = owner.successor().await;
    assert_fenced(&owner.view.set_aside(owner.barrier, &[user_agent(2)]).await);
    assert_fenced(&owner.view.restore(owner.barrier, of, &changes, true).await);
    assert_eq!(next.begin().await, Position(at + 1));
    assert_unreadable(next.view.usage(next.barrier, of).await);
    next.assert_usage(2, 2, 20, 2).await;
}
