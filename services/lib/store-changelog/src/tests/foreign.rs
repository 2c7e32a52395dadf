//! Topics that were made anew while Redis, or the offsets of the group, stayed; and claims of attempts that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pushgrid_store::{
    Change, Changelog, Commit, End, ErrorKind, History, Mailbox, Offsets, ReadBarrier, Share, StoreError,
    Stored, Subscriptions, View,
};
use pushgrid_store_model::memory::{MemoryChangelog, MemoryPartitionLog};
use pushgrid_types::{LeaderEpoch, Outcome, Position, Sequence};

use super::bench::{Bench, PARTITION, SUBSCRIPTION, TO, id, waiting};
use crate::{Deps, take_over};

/// Makes the topics anew: the view stays, and the log's offsets too unless forgotten.
fn made_anew(bench: Bench) -> Bench {
    Bench { log: MemoryPartitionLog::new(PARTITION), changelog: MemoryChangelog::labelled(9), ..bench }
}

async fn assert_serves(bench: &Bench) {
    let mut owned = bench.subscribed().await;
    assert_eq!(waiting(&owned).await, Ok(Vec::new()), "nothing of the old view is left");
    let kept = bench.keep(&mut owned, 7).await;
    assert_eq!(waiting(&owned).await, Ok(vec![kept.sequence]));
    assert_eq!(owned.store.settle(TO.user_agent, vec![(id(7), Outcome::Delivered)]).await.unwrap(), [true]);
    let account = owned.ledger.snapshot();
    assert!(account.adds_up(), "{account:?}");
    assert!(bench.view.is_complete(PARTITION));
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_ahead_of_topics_made_anew_is_discarded() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    for label in 1..=5 {
        bench.keep(&mut owned, label).await;
    }
    drop(owned);
    assert_serves(&made_anew(bench)).await;
}

#[tokio::test(start_paused = true)]
async fn a_view_is_discarded_also_when_the_new_changelog_has_outgrown_it() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    drop(owned);
    let bench = made_anew(bench);
    for _ in 0..30 {
        bench.changelog.claim(PARTITION).await.unwrap();
    }
    assert_serves(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_view_of_an_earlier_release_is_taken_as_it_is_unless_it_is_ahead() {
    let bench = Bench::new();
    let barrier = ReadBarrier { partition: PARTITION, leader_epoch: LeaderEpoch(1), position: Position(0) };
    let leader_epoch = bench.changelog.claim(PARTITION).await.unwrap();
    let to = bench
        .changelog
        .append(PARTITION, leader_epoch, vec![Change::Subscribed(SUBSCRIPTION)])
        .await
        .unwrap();
    bench.view.begin(PARTITION, leader_epoch).await.unwrap();
    bench.view.apply(barrier, &[Change::Subscribed(SUBSCRIPTION)], to).await.unwrap();
    assert_eq!(bench.view.stamp(PARTITION).await.unwrap().unwrap().history, None);
    let applies = bench.view.applies();
    let owned = bench.open().await;
    assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [true]);
    assert_eq!(bench.view.applies(), applies + 1, "it was told the new claim, and nothing twice");
    let history = Changelog::history(&bench.changelog, PARTITION).await.unwrap();
    assert_eq!(bench.view.stamp(PARTITION).await.unwrap().unwrap().history, Some(history), "it is signed");
    drop(owned);

    for (later, position) in [(LeaderEpoch(90), Position(0)), (LeaderEpoch(2), Position(90))] {
        let ahead = Bench::new();
        ahead.view.begin(PARTITION, later).await.unwrap();
        let barrier = ReadBarrier { partition: PARTITION, leader_epoch: later, position: Position(0) };
        ahead.view.apply(barrier, &[Change::Subscribed(SUBSCRIPTION)], position).await.unwrap();
        ahead.changelog.claim(PARTITION).await.unwrap();
        assert_serves(&ahead).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_leader_epoch_that_nobody_has_claimed_fences_nobody() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    let claims = bench.changelog.history(PARTITION).len() as u64;
    // Its claim would stand where the subscription does.
    let barrier =
        ReadBarrier { partition: PARTITION, leader_epoch: LeaderEpoch(claims), position: Position(0) };
    owned.store.close().await.unwrap();
    bench.view.lose_everything();
    bench.view.begin(PARTITION, barrier.leader_epoch).await.unwrap();
    assert_eq!(bench.open().await.store.alive(&[TO]).await.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_later_claim_fences_though_the_view_was_signed_by_its_owner() {
    let bench = Bench::new();
    let (deps, _health) = bench.deps();
    let later = bench.open().await;
    let later = LeaderEpoch(later.leader_epoch.0 + 2);
    // One that has claimed, and falls asleep before it begins in the view.
    let spare = bench.spare.clone();
    let slow = bench.changelog.claim(PARTITION).await.unwrap();
    spare.keep(slow);
    assert_eq!(bench.changelog.claim(PARTITION).await.unwrap(), later);
    bench.view.begin(PARTITION, later).await.unwrap();
    // Its claim is not the last, so it claims again: and is the latest then.
    assert!(take_over(deps).await.unwrap().leader_epoch > later);
}

#[tokio::test(start_paused = true)]
async fn an_owner_under_whom_the_topic_is_made_anew_stops_and_the_next_one_serves() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    bench.view.discard(PARTITION, owned.leader_epoch, History([7; 16])).await.unwrap();
    tokio::time::sleep(bench.tuning.check_every * 2).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]), "another's view is discarded while it serves");
    drop(owned);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_the_commit_is_read_from_its_start() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    for label in 1..=3 {
        bench.keep(&mut owned, label).await;
    }
    owned.store.close().await.unwrap();
    let commit = bench.log.committed();
    let bench = Bench { log: MemoryPartitionLog::new(PARTITION), ..bench };
    bench.log.set_committed(commit);
    let new = bench.accept(8).await;
    assert_eq!(new.sequence, Sequence(1), "as the first of those that are stored");
    let mut owned = bench.open().await;
    assert_eq!(owned.consumer.next(5).await.unwrap(), [new], "it is not taken for the old one");
    let account = owned.ledger.snapshot();
    assert!(account.adds_up() && account.pending == 4, "{account:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_made_anew_without_its_offsets_loses_nothing_to_what_was_stored_of_the_old_one() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    for label in 1..=6 {
        bench.keep(&mut owned, label).await;
    }
    owned.store.settle(TO.user_agent, vec![(id(6), Outcome::Delivered)]).await.unwrap();
    owned.store.close().await.unwrap();
    let bench = Bench { log: MemoryPartitionLog::new(PARTITION), ..bench };
    let mut next = 10;
    for accepted in [2, 0, 1, 3] {
        let mut fresh = Vec::new();
        for _ in 0..accepted {
            fresh.push(bench.accept(next).await);
            next += 1;
        }
        // Each owner ends without a word, behind what it has committed.
        let mut owned = bench.open().await;
        while let Some(message) = fresh.first() {
            let read = tokio::time::timeout(bench.tuning.check_every * 9, owned.consumer.next(1)).await;
            assert_eq!(read.expect("nothing is passed over").unwrap(), std::slice::from_ref(message));
            owned.consumer.settle(vec![End::of(message, Outcome::Expired)]);
            fresh.remove(0);
        }
        owned.store.flush().await.unwrap();
        let account = owned.ledger.snapshot();
        assert!(account.adds_up() && account.pending == 5, "{account:?}");
        assert_eq!(account.ended[Outcome::Expired.index()], u64::from(next) - 10);
    }
    let owned = bench.open().await;
    assert_eq!(waiting(&owned).await, Ok((1..=5).map(Sequence).collect()), "nor is the old one touched");
}

/// Offsets from a broker that is behind for a while.
#[derive(Debug)]
struct Behind {
    inner: Arc<dyn Offsets>,
    answers: AtomicU64,
}

#[async_trait]
impl Offsets for Behind {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        self.inner.committed().await
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        let left = self.answers.load(Ordering::Relaxed);
        self.answers.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 { Ok(Sequence(2)) } else { self.inner.end().await }
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.inner.commit(commit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_behind_does_not_make_a_log_anew() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    for label in 1..=3 {
        let message = bench.accept(label).await;
        owned.consumer.next(1).await.unwrap();
        owned.consumer.settle(vec![End::of(&message, Outcome::Delivered)]);
    }
    owned.store.close().await.unwrap();
    let (deps, _health) = bench.deps();
    let offsets = Arc::new(Behind { inner: deps.share.offsets, answers: AtomicU64::new(5) });
    let mut owned = take_over(Deps { share: Share { offsets, ..deps.share }, ..deps }).await.unwrap();
    let new = bench.accept(4).await;
    assert_eq!(owned.consumer.next(5).await.unwrap(), [new], "what was delivered does not come again");
    let account = owned.ledger.snapshot();
    assert!(account.adds_up() && account.accepted == 4, "{account:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_speaks_of_another_changelog_gives_its_place_and_no_more() {
    for more in [0, 30] {
        let bench = Bench::new();
        let mut owned = bench.subscribed().await;
        for label in 1..=3 {
            bench.keep(&mut owned, label).await;
        }
        drop(owned);
        bench.open().await.store.close().await.unwrap();
        let bench = Bench { changelog: MemoryChangelog::labelled(9), ..bench };
        let by = bench.changelog.claim(PARTITION).await.unwrap();
        bench.changelog.append(PARTITION, by, vec![Change::Unsubscribed(TO); more]).await.unwrap();
        let new = bench.accept(8).await;
        let mut owned = bench.subscribed().await;
        assert_eq!(owned.consumer.next(5).await.unwrap(), std::slice::from_ref(&new));
        assert_eq!(owned.store.store(vec![new.clone()]).await.unwrap(), [Stored::Kept]);
        assert_eq!(waiting(&owned).await, Ok(vec![new.sequence]));
        let account = owned.ledger.snapshot();
        assert!(account.adds_up() && account.accepted == 1, "{account:?}");
    }
}

/// A note that is damaged, of a newer version, or with an outcome unknown to this release.
#[tokio::test(start_paused = true)]
async fn a_note_that_cannot_be_read_gives_its_place_and_no_more() {
    for note in ["somebody-else", "AgAAAAAA", "AQEBBQUFAP8B"] {
        let bench = Bench::new();
        let mut owned = bench.subscribed().await;
        for label in 1..=3 {
            bench.keep(&mut owned, label).await;
        }
        drop(owned);
        bench.log.set_committed(Some(Commit { next: Sequence(2), note: note.to_owned() }));
        let new = bench.accept(8).await;
        let mut owned = bench.open().await;
        assert_eq!(owned.consumer.next(5).await.unwrap(), std::slice::from_ref(&new), "{note}");
        assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1), Sequence(2), Sequence(3)]));
        assert_eq!(owned.store.store(vec![new]).await.unwrap(), [Stored::Kept]);
        owned.store.flush().await.unwrap();
        let account = owned.ledger.snapshot();
        assert!(account.adds_up() && account.pending == 4, "{account:?}");
        drop(owned);
        let again = bench.open().await.ledger.snapshot();
        assert_eq!(again, account, "the next owner can read what was committed");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_leave_one_claim() {
    let bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(take_over(bench.spoilt_deps().0).await.unwrap_err().kind, ErrorKind::Corrupt);
    }
    assert_eq!(bench.changelog.history(PARTITION).len(), 1);
    // Another process has tried meanwhile.
    bench.changelog.claim(PARTITION).await.unwrap();
    for _ in 0..20 {
        assert_eq!(take_over(bench.spoilt_deps().0).await.unwrap_err().kind, ErrorKind::Corrupt);
    }
    assert_eq!(bench.changelog.history(PARTITION).len(), 3, "one that nobody has used since is the last");
    let first = bench.open().await;
    drop(first);
    let second = bench.open().await;
    assert_eq!(second.leader_epoch, LeaderEpoch(4), "an owner's claim is never used again");
}
