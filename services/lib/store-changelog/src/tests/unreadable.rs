//! Records that cannot be read: damaged or foreign ones, and those of a newer release.

use std::sync::Arc;

use pushgrid_store::{
    Change, ChangelogRecord, End, ErrorKind, Mailbox, RecordKey, Subscription, Subscriptions, UnreadableCause,
};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_types::{
    ChannelId, DropReason, Incarnation, Message, Outcome, Position, Sequence, SubscriptionRef,
};

use super::bench::{Bench, NOW, PARTITION, SUBSCRIPTION, TO, id, waiting};
use crate::TakenOver;

const SUBSCRIPTION_OF_ANOTHER_CHANNEL: Subscription = Subscription {
    id: SubscriptionRef {
        channel: ChannelId::from_octets([7; 16]),
        incarnation: Incarnation::from_octets([8; 12]),
        ..TO
    },
    ..SUBSCRIPTION
};

fn key_of(message: &Message, owned: &TakenOver) -> RecordKey {
    RecordKey::Message { user_agent: TO.user_agent, id: message.id, since: owned.leader_epoch }
}

fn end(bench: &Bench) -> Position {
    // One that changes nothing is written to learn where it stands.
    let position = bench.changelog.write_unreadable(PARTITION, None, UnreadableCause::Newer);
    Position(position.0 + 1)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_passed_over_by_an_owner_and_by_the_next() {
    for cause in [UnreadableCause::Damaged, UnreadableCause::Newer] {
        let bench = Bench::new();
        bench.changelog.write_unreadable(PARTITION, None, cause);
        let mut owned = bench.subscribed().await;
        let first = bench.keep(&mut owned, 1).await;
        bench.changelog.write_unreadable(PARTITION, None, cause);
        let second = bench.keep(&mut owned, 2).await;
        bench.changelog.write_unreadable(PARTITION, None, cause);
        owned.store.close().await.unwrap();
        for lost in [false, true] {
            if lost {
                bench.view.lose_everything();
            }
            let mut owned = bench.open().await;
            assert_eq!(waiting(&owned).await, Ok(vec![first.sequence, second.sequence]));
            assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [true]);
            let account = owned.ledger.snapshot();
            assert!(account.adds_up() && account.pending == 2, "{account:?}");
            let third = bench.keep(&mut owned, 3).await;
            let ended = vec![(third.id, Outcome::Delivered)];
            assert_eq!(owned.store.settle(TO.user_agent, ended).await.unwrap(), [true]);
            owned.store.close().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_damaged_record_would_take_the_place_of_is_written_again() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    let kept = bench.keep(&mut owned, 1).await;
    for key in [key_of(&kept, &owned), RecordKey::Subscription(TO)] {
        bench.changelog.write_unreadable(PARTITION, Some(key), UnreadableCause::Damaged);
    }
    owned.store.close().await.unwrap();
    drop(bench.open().await);
    let end = end(&bench);
    bench.changelog.compact(PARTITION, end, end);
    bench.view.lose_everything();
    let owned = bench.open().await;
    assert_eq!(waiting(&owned).await, Ok(vec![kept.sequence]));
    assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [true]);
    let account = owned.ledger.snapshot();
    assert!(account.adds_up() && account.pending == 1, "{account:?}");
    assert_eq!(owned.store.settle(TO.user_agent, vec![(id(1), Outcome::Expired)]).await.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_release_wrote_is_never_written_over() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    let kept = bench.keep(&mut owned, 1).await;
    let keys = [key_of(&kept, &owned), RecordKey::Subscription(TO)];
    for key in keys {
        // Damaged first: the newer record mends that.
        bench.changelog.write_unreadable(PARTITION, Some(key), UnreadableCause::Damaged);
        bench.changelog.write_unreadable(PARTITION, Some(key), UnreadableCause::Newer);
    }
    let before = bench.changelog.history(PARTITION).len();
    owned.store.close().await.unwrap();
    let owned = bench.open().await;
    assert_eq!(waiting(&owned).await, Ok(vec![kept.sequence]), "the view knows it from before");
    owned.store.close().await.unwrap();
    let written = bench.changelog.history(PARTITION).split_off(before);
    assert!(written.iter().all(|entry| entry.change == Change::Claimed), "{written:?}");
    let all = end(&bench);
    bench.changelog.compact(PARTITION, all, all);
    let mut reading =
        pushgrid_store::Changelog::read(&bench.changelog, PARTITION, Position(0)).await.unwrap();
    let left = reading.next(100).await.unwrap();
    for key in keys {
        let is_left = |record: &ChangelogRecord| matches!(record, ChangelogRecord::Unreadable(it) if it.key == Some(key));
        assert_eq!(left.iter().filter(|record| is_left(record)).count(), 1, "compaction keeps it: {key:?}");
    }
}

/// Replaces the only record of a message by a damaged one, and loses the view.
async fn damaged_and_lost(bench: &Bench, owned: Option<TakenOver>) -> TakenOver {
    let all = end(bench);
    bench.changelog.compact(PARTITION, all, all);
    bench.view.lose_everything();
    match owned {
        Some(owned) => {
            tokio::time::sleep(bench.tuning.check_every * 3).await;
            owned
        }
        None => bench.open().await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_only_a_damaged_record_is_left_has_its_outcome_once() {
    for runs_on in [false, true] {
        let (told, feed) = ToldEnds::new(NOW);
        let bench = Bench { ends: Some(feed), ..Bench::new() };
        let mut owned = bench.subscribed().await;
        let [lost, ended, kept] = [
            bench.keep(&mut owned, 1).await,
            bench.keep(&mut owned, 2).await,
            bench.keep(&mut owned, 3).await,
        ];
        owned.store.settle(TO.user_agent, vec![(ended.id, Outcome::Delivered)]).await.unwrap();
        owned.store.flush().await.unwrap();
        // Also under the key of one that has ended well.
        for message in [&lost, &ended] {
            let key = Some(key_of(message, &owned));
            bench.changelog.write_unreadable(PARTITION, key, UnreadableCause::Damaged);
        }
        let owned = if runs_on { Some(owned) } else { None };
        let mut owned = damaged_and_lost(&bench, owned).await;
        for _ in 0..3 {
            assert_eq!(waiting(&owned).await, Ok(vec![kept.sequence]));
            let account = owned.ledger.snapshot();
            assert!(account.adds_up() && account.accepted == 3 && account.pending == 1, "{account:?}");
            assert_eq!(account.ended[Outcome::Delivered.index()], 1);
            assert_eq!(account.ended[Outcome::Dropped(DropReason::Damaged).index()], 1);
            owned.store.close().await.unwrap();
            bench.view.lose_everything();
            owned = bench.open().await;
        }
        let told: Vec<_> = told.all().into_iter().map(|(_, end)| (end.id, end.to, end.outcome)).collect();
        let expected = [
            (ended.id, Some(TO), Outcome::Delivered),
            (lost.id, None, Outcome::Dropped(DropReason::Damaged)),
        ];
        assert_eq!(told, expected, "no record says any more to which subscription it was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_only_a_newer_release_can_read_is_alive() {
    let bench = Bench::new();
    let owned = bench.open().await;
    let key = Some(RecordKey::Subscription(TO));
    bench.changelog.write_unreadable(PARTITION, key, UnreadableCause::Newer);
    owned.store.close().await.unwrap();
    bench.view.lose_everything();
    let mut owned = bench.open().await;
    let other = SubscriptionRef { incarnation: Incarnation::from_octets([9; 12]), ..TO };
    assert_eq!(owned.store.alive(&[TO, other]).await.unwrap(), [true, false]);
    let kept = bench.keep(&mut owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![kept.sequence]), "its messages wait");
    // Until it is one that this release knows.
    assert_eq!(owned.store.put(None, SUBSCRIPTION).await.unwrap(), Some(SUBSCRIPTION));
    assert!(owned.store.remove(TO.user_agent, TO.channel).await.unwrap());
    owned.store.close().await.unwrap();
    bench.view.lose_everything();
    assert_eq!(bench.open().await.store.alive(&[TO]).await.unwrap(), [false]);
}

#[tokio::test(start_paused = true)]
async fn a_user_agent_of_whom_only_a_newer_release_can_read_something_stays_known() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    let key = Some(RecordKey::Subscription(TO));
    bench.changelog.write_unreadable(PARTITION, key, UnreadableCause::Newer);
    let other = SUBSCRIPTION_OF_ANOTHER_CHANNEL;
    assert_eq!(owned.store.put(None, other.clone()).await.unwrap(), Some(other.clone()));
    assert!(owned.store.remove(TO.user_agent, other.id.channel).await.unwrap());
    // However the next owner comes to know of it.
    for is_lost in [false, false, true, false] {
        assert_eq!(owned.store.count(TO.user_agent).await.unwrap(), 1);
        assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [true]);
        let found = owned.store.find(TO.user_agent, TO.channel).await;
        assert_eq!(found.map_err(|error| error.kind), Err(ErrorKind::Unavailable));
        assert_eq!(owned.store.find(TO.user_agent, other.id.channel).await.unwrap(), None);
        assert_eq!(owned.store.put(None, other.clone()).await.unwrap(), Some(other.clone()));
        assert_eq!(owned.store.count(TO.user_agent).await.unwrap(), 2);
        assert!(owned.store.all(TO.user_agent).await.unwrap().contains(&other));
        assert_eq!(owned.store.sweep(None).await.unwrap().0, [], "of this user agent nobody here knows all");
        assert!(owned.store.remove(TO.user_agent, other.id.channel).await.unwrap());
        owned.store.close().await.unwrap();
        if is_lost {
            bench.view.lose_everything();
        }
        owned = bench.open().await;
    }
    bench.keep(&mut owned, 1).await;
    // Until it unregisters.
    assert!(owned.store.remove(TO.user_agent, TO.channel).await.unwrap());
    for _ in 0..2 {
        assert_eq!(owned.store.count(TO.user_agent).await.unwrap(), 0);
        assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [false]);
        assert_eq!(owned.store.find(TO.user_agent, TO.channel).await.unwrap(), None);
        assert!(!owned.store.remove(TO.user_agent, TO.channel).await.unwrap());
        owned.store.close().await.unwrap();
        owned = bench.open().await;
    }
    let note = bench.log.committed().unwrap();
    let note = crate::note::Note::decode(&note.note, note.next).unwrap();
    assert_eq!(note.collect_from, note.position, "there is nothing more to look for");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_which_the_view_has_an_earlier_form_counts_once() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    let key = Some(RecordKey::Subscription(TO));
    bench.changelog.write_unreadable(PARTITION, key, UnreadableCause::Newer);
    owned.store.close().await.unwrap();
    let owned = bench.open().await;
    assert_eq!(owned.store.count(TO.user_agent).await.unwrap(), 1);
    assert_eq!(owned.store.find(TO.user_agent, TO.channel).await.unwrap(), Some(SUBSCRIPTION));
    assert!(owned.store.remove(TO.user_agent, TO.channel).await.unwrap());
    assert_eq!(owned.store.count(TO.user_agent).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_release_has_accepted_is_pending_until_one_comes_that_can_read_it() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    let newer = bench.log.accept_newer();
    let next = bench.keep(&mut owned, 2).await;
    let ended = vec![(id(1), Outcome::Delivered), (id(2), Outcome::Delivered)];
    assert_eq!(owned.store.settle(TO.user_agent, ended).await.unwrap(), [true, true]);
    owned.store.close().await.unwrap();
    assert_eq!(bench.log.committed().unwrap().next, newer, "the next owner finds it");
    for _ in 0..2 {
        let mut owned = bench.open().await;
        let later = bench.accept(9).await;
        assert_eq!(
            owned.consumer.next(5).await.unwrap(),
            [Arc::clone(&later)],
            "what was dealt with does not come"
        );
        owned.consumer.settle(vec![End::of(&later, Outcome::Delivered)]);
        owned.store.close().await.unwrap();
        let account = owned.ledger.snapshot();
        assert!(account.adds_up() && account.pending == 1, "{account:?}");
        assert!(next.sequence > newer);
    }
    assert_eq!(bench.log.committed().unwrap().next, newer);
    assert_eq!(SUBSCRIPTION.id, TO);
    assert!(newer > Sequence(0));
}

#[tokio::test(start_paused = true)]
async fn however_many_are_dealt_with_after_a_newer_record_the_log_is_read_on() {
    let mut bench = Bench::new();
    bench.tuning.window = 4;
    let newer = bench.log.accept_newer();
    let (deps, health) = bench.deps();
    let mut owned = crate::take_over(deps).await.unwrap();
    for label in 1..=100 {
        let message = bench.accept(label).await;
        let read = tokio::time::timeout(bench.tuning.check_every * 60, owned.consumer.next(1)).await;
        assert_eq!(read.expect("the log is read on").unwrap(), std::slice::from_ref(&message));
        owned.consumer.settle(vec![End::of(&message, Outcome::Delivered)]);
        assert_eq!(*health.borrow(), crate::Health::Serving);
    }
    owned.store.flush().await.unwrap();
    assert_eq!(owned.store.figures().window, 2);
    assert_eq!(bench.log.committed().unwrap().next, newer);
    drop(owned);
    let mut owned = bench.open().await;
    let message = bench.accept(101).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), [message], "none of them comes again");
    let account = owned.ledger.snapshot();
    assert!(account.adds_up() && account.pending == 2, "{account:?}");
    assert_eq!(account.ended[Outcome::Delivered.index()], 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_release_accepts_is_pending_though_no_message_follows() {
    let bench = Bench::new();
    let owned = bench.open().await;
    for accepted in 1..=3 {
        bench.log.accept_newer();
        tokio::time::sleep(bench.tuning.check_every).await;
        let account = owned.ledger.snapshot();
        assert_eq!((account.accepted, account.pending), (accepted, accepted));
    }
    assert_eq!(*owned.store.health().borrow(), crate::Health::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_newer_records_keep_full_is_shown() {
    let mut bench = Bench::new();
    bench.tuning.window = 3;
    let (deps, health) = bench.deps();
    let newer = bench.log.accept_newer();
    let mut owned = crate::take_over(deps).await.unwrap();
    let message = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&message));
    owned.consumer.settle(vec![End::of(&message, Outcome::Delivered)]);
    tokio::time::sleep(bench.tuning.check_every * 3).await;
    assert_eq!(*health.borrow(), crate::Health::Serving);
    bench.log.accept_newer();
    tokio::time::sleep(bench.tuning.check_every * 3).await;
    assert_eq!(*health.borrow(), crate::Health::Full { at: newer });
}

#[tokio::test(start_paused = true)]
async fn no_more_comes_again_after_a_crash_than_the_window_says() {
    let mut bench = Bench::new();
    bench.tuning.window = 4;
    bench.tuning.note = 0;
    let newer = bench.log.accept_newer();
    let (deps, health) = bench.deps();
    let mut owned = crate::take_over(deps).await.unwrap();
    for label in 1..=4 {
        assert_eq!(*health.borrow(), crate::Health::Serving);
        let message = bench.accept(label).await;
        assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&message));
        owned.consumer.settle(vec![End::of(&message, Outcome::Delivered)]);
        owned.store.flush().await.unwrap();
    }
    bench.accept(5).await;
    tokio::time::sleep(bench.tuning.check_every * 3).await;
    assert_eq!(*health.borrow(), crate::Health::Full { at: newer });
}
