//! Tenures and positions: who may ask, and what an answer holds for.

use std::sync::Arc;

use pushgrid_types::{Partition, Position, Sequence, Tenure};

use super::super::support::{ALL, channel, subscription, topic, user_agent};
use super::{NOW, Owner, assert_behind, assert_fenced, checks};
use crate::{Change, Footing, View, ViewError};

checks!(
    begin_answers_where_the_view_is,
    a_later_tenure_fences_the_earlier,
    the_view_moves_exactly_from_where_it_is,
    a_repeated_apply_changes_nothing,
    an_answer_needs_every_change_before_the_footing,
    a_view_that_is_ahead_answers,
    positions_may_have_gaps,
    a_view_that_was_never_told_anything_is_behind,
    completeness_needs_the_footing,
    partitions_know_nothing_of_each_other,
);

/// Repeated, it answers the same; a later tenure finds what the earlier has told.
async fn begin_answers_where_the_view_is(mut owner: Owner) {
    assert_eq!(owner.begin().await, Position(1));
    owner.subscribe(subscription(1, 1)).await;
    assert_eq!(owner.begin().await, Position(2), "it has moved");
    assert_eq!(owner.begin().await, Position(2), "asked again, it answers again");
    let next = owner.successor().await;
    assert_eq!(next.begin().await, Position(3));
    assert!(next.alive(subscription(1, 1)).await, "the view was kept");
}

/// Once a later tenure has begun, nothing that the earlier says counts, and nothing of it is changed.
async fn a_later_tenure_fences_the_earlier(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    let next = owner.successor().await;
    for position in [0, 2, 3, 9] {
        for answer in every_call(&owner, owner.at(position)).await {
            assert_fenced(&answer);
        }
    }
    assert_fenced(&owner.view.begin(owner.footing.partition, owner.footing.tenure).await);
    assert!(next.alive(subscription(1, 1)).await);
    assert_eq!(next.begin().await, next.footing.position, "the later owner is not moved");
}

/// From any other place it does not move, and says where it is.
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

/// What was told before, and lost its answer, is told again: then nothing happens.
async fn a_repeated_apply_changes_nothing(mut owner: Owner) {
    let before = owner.footing;
    let kept = Owner::message(subscription(1, 1), 5);
    let changes = [owner.stores(&kept), owner.ends(&kept), owner.stores(&kept)];
    owner.tell(&changes).await;
    owner.assert_usage(1, 1, 10, 1).await;
    let to = owner.footing.position;
    owner.view.apply(before, &changes, to).await.expect("apply answers again");
    owner.assert_usage(1, 1, 10, 1).await;
    assert_eq!(owner.begin().await, to);
}

/// No call answers for a position that the view has not reached.
async fn an_answer_needs_every_change_before_the_footing(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    for answer in every_call(&owner, owner.at(3)).await {
        assert_behind(answer, 2);
    }
    for answer in every_call(&owner, owner.at(1 << 40)).await {
        assert_behind(answer, 2);
    }
    assert!(owner.alive(subscription(1, 1)).await, "for its own position it answers");
}

/// Every change before the footing is in the view, and more: that is enough for an answer.
async fn a_view_that_is_ahead_answers(mut owner: Owner) {
    let earlier = owner.footing;
    owner.subscribe(subscription(1, 1)).await;
    let alive = owner.view.alive(earlier, &[subscription(1, 1)]).await;
    assert_eq!(alive.expect("alive answers"), [true]);
}

/// The changelog has places that no change stands at.
async fn positions_may_have_gaps(mut owner: Owner) {
    let made = [Change::Claimed, Change::Unsubscribed(subscription(9, 9))];
    owner.view.apply(owner.footing, &made, Position(1 << 40)).await.expect("apply answers");
    owner.footing.position = Position(1 << 40);
    owner.view.apply(owner.footing, &[], Position((1 << 40) + 1)).await.expect("apply answers");
    assert_eq!(owner.begin().await, Position((1 << 40) + 1), "a gap alone moves it, too");
    owner.footing.position = Position((1 << 40) + 1);
    owner.subscribe(subscription(1, 1)).await;
    assert!(owner.alive(subscription(1, 1)).await);
    let last = Position((1 << 53) - 1);
    owner.view.apply(owner.footing, &[], last).await.expect("apply answers");
    assert_eq!(owner.begin().await, last, "large numbers stay exact");
}

/// Before its first tenure, and whatever the footing says.
async fn a_view_that_was_never_told_anything_is_behind(owner: Owner) {
    let elsewhere = Footing { partition: Partition(8), ..owner.at(4) };
    for answer in every_call(&owner, elsewhere).await {
        assert_behind(answer, 0);
    }
}

/// Only who knows everything can say that it is complete.
async fn completeness_needs_the_footing(owner: Owner) {
    owner.view.complete(owner.footing).await.expect("complete answers");
    owner.view.complete(owner.footing).await.expect("complete answers again");
    assert_behind(owner.view.complete(owner.at(2)).await, 1);
    owner.view.complete(owner.footing).await.expect("complete answers after that");
    let next = owner.successor().await;
    assert_fenced(&owner.view.complete(owner.footing).await);
    next.view.complete(next.footing).await.expect("complete answers the next owner");
}

/// Each has its own tenure, position and contents.
async fn partitions_know_nothing_of_each_other(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    owner.keep(subscription(1, 1), [1]).await;
    let footing = Footing { partition: Partition(4), tenure: Tenure(77), position: Position(0) };
    let mut other = Owner { view: Arc::clone(&owner.view), footing };
    assert_eq!(other.begin().await, Position(0));
    assert!(!other.alive(subscription(1, 1)).await);
    other.assert_usage(1, 0, 0, 0).await;
    other.subscribe(subscription(2, 2)).await;
    owner.assert_usage(1, 1, 10, 1).await;
    assert!(!owner.alive(subscription(2, 2)).await);
    assert_eq!(owner.begin().await, owner.footing.position, "the earlier owner of another is not fenced");
}

/// What every call but `begin` answers a footing, without its value.
async fn every_call(owner: &Owner, footing: Footing) -> Vec<Result<(), ViewError>> {
    let view: &dyn View = owner.view.as_ref();
    let (of, on, no) = (user_agent(1), channel(1), Sequence(0));
    let id = Owner::message(subscription(1, 1), 1).id;
    let from = footing.position.0.max(1);
    vec![
        view.apply(footing, &[Change::Claimed], Position(from + 1)).await,
        view.complete(footing).await,
        view.find(footing, &[(of, on)]).await.map(drop),
        view.alive(footing, &[subscription(1, 1)]).await.map(drop),
        view.count(footing, of).await.map(drop),
        view.stored(footing, &[(of, id)]).await.map(drop),
        view.in_topic(footing, &[(of, on, topic("t"))]).await.map(drop),
        view.in_channel(footing, of, on).await.map(drop),
        view.due(footing, NOW, 10).await.map(drop),
        view.page(footing, of, no, NOW, ALL).await.map(drop),
        view.usage(footing, of).await.map(drop),
        view.waiting(footing).await.map(drop),
    ]
}
