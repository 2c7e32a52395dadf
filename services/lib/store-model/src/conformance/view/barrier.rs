//! Checks of leader epochs and positions: fencing, and the validity of answers.

use std::sync::Arc;

use pushgrid_types::{LeaderEpoch, Partition, Position};

use super::super::support::{ALL, channel, subscription, topic, user_agent};
use super::{NOW, Owner, assert_behind, assert_fenced, checks};
use pushgrid_store::{Change, PageStart, ReadBarrier, View, ViewError};

checks!(
    begin_answers_where_the_view_is,
    a_later_leader_epoch_fences_the_earlier,
    the_view_moves_exactly_from_where_it_is,
    a_repeated_apply_changes_nothing,
    an_answer_needs_every_change_before_the_barrier,
    a_view_that_is_ahead_answers,
    positions_may_have_gaps,
    a_view_that_was_never_told_anything_is_behind,
    completeness_needs_the_barrier,
    partitions_know_nothing_of_each_other,
);

/// `begin` answers with the position of the view, also when repeated; a later leader epoch finds the changes
/// of the earlier.
async fn begin_answers_where_the_view_is(mut owner: Owner) {
    assert_eq!(owner.begin().await, Position(1));
    owner.subscribe(subscription(1, 1)).await;
    assert_eq!(owner.begin().await, Position(2), "it has moved");
    assert_eq!(owner.begin().await, Position(2), "asked again, it answers again");
    let next = owner.successor().await;
    assert_eq!(next.begin().await, Position(3));
    assert!(next.alive(subscription(1, 1)).await, "the view was kept");
}

/// Once a later leader epoch has begun, no call of the earlier one counts or changes anything.
async fn a_later_leader_epoch_fences_the_earlier(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    let next = owner.successor().await;
    for position in [0, 2, 3, 9] {
        for answer in every_call(&owner, owner.at(position)).await {
            assert_fenced(&answer);
        }
    }
    assert_fenced(&owner.view.begin(owner.barrier.partition, owner.barrier.leader_epoch).await);
    assert!(next.alive(subscription(1, 1)).await);
    assert_eq!(next.begin().await, next.barrier.position, "the later owner is not moved");
}

/// `apply` from any other position moves nothing, and reports the view's position.
async fn the_view_moves_exactly_from_where_it_is(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    let change = [Change::Unsubscribed(subscription(1, 1))];
    for (from, to) in [(0, 1), (1, 3), (3, 4), (7, 8)] {
        assert_behind(owner.view.apply(owner.at(from), &change, Position(to)).await, 2);
    }
    assert!(owner.alive(subscription(1, 1)).await, "nothing was changed");
    owner.tell(&change).await;
    assert!(!owner.alive(subscription(1, 1)).await);
}

/// A repeated `apply`, after a lost answer, changes nothing.
async fn a_repeated_apply_changes_nothing(mut owner: Owner) {
    let before = owner.barrier;
    let kept = Owner::message(subscription(1, 1), 5);
    let changes = [owner.stores(&kept), owner.ends(&kept), owner.stores(&kept)];
    owner.tell(&changes).await;
    owner.assert_usage(1, 1, 10, 1).await;
    let to = owner.barrier.position;
    owner.view.apply(before, &changes, to).await.expect("apply answers again");
    owner.assert_usage(1, 1, 10, 1).await;
    assert_eq!(owner.begin().await, to);
}

/// No call answers for a position that the view has not reached.
async fn an_answer_needs_every_change_before_the_barrier(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    for answer in every_call(&owner, owner.at(3)).await {
        assert_behind(answer, 2);
    }
    for answer in every_call(&owner, owner.at(1 << 40)).await {
        assert_behind(answer, 2);
    }
    assert!(owner.alive(subscription(1, 1)).await, "for its own position it answers");
}

/// A view beyond the read barrier answers.
async fn a_view_that_is_ahead_answers(mut owner: Owner) {
    let earlier = owner.barrier;
    owner.subscribe(subscription(1, 1)).await;
    let alive = owner.view.alive(earlier, &[subscription(1, 1)]).await;
    assert_eq!(alive.expect("alive answers"), [true]);
}

/// Positions may be skipped: not every offset of the changelog holds a change.
async fn positions_may_have_gaps(mut owner: Owner) {
    let made = [Change::Claimed, Change::Unsubscribed(subscription(9, 9))];
    owner.view.apply(owner.barrier, &made, Position(1 << 40)).await.expect("apply answers");
    owner.barrier.position = Position(1 << 40);
    owner.view.apply(owner.barrier, &[], Position((1 << 40) + 1)).await.expect("apply answers");
    assert_eq!(owner.begin().await, Position((1 << 40) + 1), "a gap alone moves it, too");
    owner.barrier.position = Position((1 << 40) + 1);
    owner.subscribe(subscription(1, 1)).await;
    assert!(owner.alive(subscription(1, 1)).await);
    let last = Position((1 << 53) - 1);
    owner.view.apply(owner.barrier, &[], last).await.expect("apply answers");
    assert_eq!(owner.begin().await, last, "large numbers stay exact");
}

/// A view without a leader epoch is stale for every read barrier.
async fn a_view_that_was_never_told_anything_is_behind(owner: Owner) {
    let elsewhere = ReadBarrier { partition: Partition(8), ..owner.at(4) };
    for answer in every_call(&owner, elsewhere).await {
        assert_behind(answer, 0);
    }
}

/// Completing a view needs the read barrier.
async fn completeness_needs_the_barrier(owner: Owner) {
    owner.view.complete(owner.barrier).await.expect("complete answers");
    owner.view.complete(owner.barrier).await.expect("complete answers again");
    assert_behind(owner.view.complete(owner.at(2)).await, 1);
    owner.view.complete(owner.barrier).await.expect("complete answers after that");
    let next = owner.successor().await;
    assert_fenced(&owner.view.complete(owner.barrier).await);
    next.view.complete(next.barrier).await.expect("complete answers the next owner");
}

/// Each partition has its own leader epoch, position and content.
async fn partitions_know_nothing_of_each_other(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    owner.keep(subscription(1, 1), [1]).await;
    let barrier =
        ReadBarrier { partition: Partition(4), leader_epoch: LeaderEpoch(77), position: Position(0) };
    let mut other = Owner { view: Arc::clone(&owner.view), barrier };
    assert_eq!(other.begin().await, Position(0));
    assert!(!other.alive(subscription(1, 1)).await);
    other.assert_usage(1, 0, 0, 0).await;
    other.subscribe(subscription(2, 2)).await;
    owner.assert_usage(1, 1, 10, 1).await;
    assert!(!owner.alive(subscription(2, 2)).await);
    assert_eq!(owner.begin().await, owner.barrier.position, "the earlier owner of another is not fenced");
}

/// Results of every call but `begin` at a read barrier, without values.
async fn every_call(owner: &Owner, barrier: ReadBarrier) -> Vec<Result<(), ViewError>> {
    let view: &dyn View = owner.view.as_ref();
    let (of, on) = (user_agent(1), channel(1));
    let id = Owner::message(subscription(1, 1), 1).id;
    let from = barrier.position.0.max(1);
    vec![
        view.apply(barrier, &[Change::Claimed], Position(from + 1)).await,
        view.complete(barrier).await.map(drop),
        view.set_aside(barrier, &[of]).await,
        view.restore(barrier, of, &[], true).await,
        view.find(barrier, &[(of, on)]).await.map(drop),
        view.alive(barrier, &[subscription(1, 1)]).await.map(drop),
        view.count(barrier, of).await.map(drop),
        view.stored(barrier, &[(of, id)]).await.map(drop),
        view.in_topic(barrier, &[(of, on, topic("t"))]).await.map(drop),
        view.in_channel(barrier, of, on).await.map(drop),
        view.due(barrier, NOW, 10).await.map(drop),
        view.page(barrier, of, PageStart::FIRST, NOW, ALL).await.map(drop),
        view.usage(barrier, of).await.map(drop),
        view.waiting(barrier).await.map(drop),
    ]
}
