//! Checks of the stamp of a view: the changelog, and the discarding of a view of another changelog.

use pushgrid_types::{LeaderEpoch, Partition, Position};

use super::super::support::{ALL, subscription, user_agent};
use super::{NOW, Owner, assert_behind, assert_fenced, checks};
use pushgrid_store::{Change, History, PageStart, ReadBarrier, Stamp};

const OURS: History = History([7; History::SIZE]);

checks!(
    a_stamp_says_whose_the_view_is,
    an_empty_view_has_no_stamp,
    a_fenced_owner_signs_nothing,
    a_view_of_another_changelog_is_discarded_whatever_its_leader_epoch,
    other_partitions_are_not_discarded,
);

/// The stamp names the changelog of the view; signing moves no position.
async fn a_stamp_says_whose_the_view_is(mut owner: Owner) {
    owner.subscribe(subscription(1, 1)).await;
    let ReadBarrier { partition, leader_epoch, position } = owner.barrier;
    let unsigned = Stamp { history: None, leader_epoch, position };
    assert_eq!(owner.view.stamp(partition).await.expect("it answers"), Some(unsigned));
    for _ in 0..2 {
        owner.view.sign(partition, leader_epoch, OURS).await.expect("it answers");
        let signed = Stamp { history: Some(OURS), ..unsigned };
        assert_eq!(owner.view.stamp(partition).await.expect("it answers"), Some(signed));
    }
    let next = owner.successor().await;
    let stamp = next.view.stamp(partition).await.expect("it answers").expect("it is not empty");
    let expected = (Some(OURS), next.barrier.leader_epoch, next.barrier.position);
    assert_eq!(
        (stamp.history, stamp.leader_epoch, stamp.position),
        expected,
        "it is signed for all leader epochs"
    );
}

/// An empty view has no stamp, and cannot be signed.
async fn an_empty_view_has_no_stamp(owner: Owner) {
    let other = Partition(owner.barrier.partition.0 + 1);
    for _ in 0..2 {
        assert_eq!(owner.view.stamp(other).await.expect("it answers"), None);
        owner.view.sign(other, LeaderEpoch(3), OURS).await.expect("it answers");
    }
}

/// A fenced owner signs nothing: the later owner's signature stays.
async fn a_fenced_owner_signs_nothing(owner: Owner) {
    let next = owner.successor().await;
    let ReadBarrier { partition, leader_epoch, .. } = owner.barrier;
    next.view.sign(partition, next.barrier.leader_epoch, OURS).await.expect("it answers");
    assert_fenced(&owner.view.sign(partition, leader_epoch, History::default()).await);
    let stamp = next.view.stamp(partition).await.expect("it answers").expect("it is not empty");
    assert_eq!(stamp.history, Some(OURS));
}

/// A view of another changelog is discarded whatever its leader epoch; afterwards it is empty and takes
/// changes.
async fn a_view_of_another_changelog_is_discarded_whatever_its_leader_epoch(mut owner: Owner) {
    let (first, second) = (subscription(1, 1), subscription(2, 1));
    owner.subscribe(first).await;
    owner.subscribe(second).await;
    owner.keep(first, 1..=3).await;
    owner.view.complete(owner.barrier).await.expect("it answers");
    let mut later = owner.successor().await;
    let partition = owner.barrier.partition;
    owner.view.discard(partition, LeaderEpoch(1), OURS).await.expect("it answers");
    let stamp = Stamp { history: Some(OURS), leader_epoch: LeaderEpoch(1), position: Position(0) };
    assert_eq!(owner.view.stamp(partition).await.expect("it answers"), Some(stamp));
    assert_behind(owner.view.count(owner.barrier, user_agent(1)).await, 0);

    owner.barrier.position = Position(0);
    assert_eq!(owner.begin().await, Position(0));
    assert!(!owner.alive(first).await && !owner.alive(second).await);
    assert_eq!(owner.view.waiting(owner.barrier).await.expect("it answers"), 0);
    assert_eq!(owner.view.due(owner.barrier, NOW, 10).await.expect("it answers"), []);
    assert_eq!(owner.view.usage(owner.barrier, user_agent(1)).await.expect("it answers").messages, 0);
    let page = owner.view.page(owner.barrier, user_agent(1), PageStart::FIRST, NOW, ALL).await;
    assert_eq!(page.map(|page| page.messages).expect("it answers"), []);
    owner.tell(&[Change::Claimed]).await;
    owner.subscribe(first).await;
    assert!(owner.alive(first).await && !owner.alive(second).await);

    // Leader epochs of the other changelog mean nothing; within this one they do.
    later.barrier = ReadBarrier { leader_epoch: LeaderEpoch(9), ..owner.barrier };
    later.begin().await;
    assert_fenced(&owner.view.count(owner.barrier, user_agent(1)).await);
}

/// Discarding one partition leaves others alone, also with a common prefix of the name.
async fn other_partitions_are_not_discarded(owner: Owner) {
    let mut other = owner.clone();
    other.barrier =
        ReadBarrier { partition: Partition(33), leader_epoch: LeaderEpoch(1), position: Position(0) };
    other.begin().await;
    other.subscribe(subscription(5, 1)).await;
    owner.view.discard(owner.barrier.partition, LeaderEpoch(1), OURS).await.expect("it answers");
    assert!(other.alive(subscription(5, 1)).await);
}
