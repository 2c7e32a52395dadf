//! A user agent that the view cannot keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Change, Changelog, Commit, ErrorKind, Mailbox, Stored, Subscription, Subscriptions};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::memory::MemoryChangelog;
use pushgrid_types::{Incarnation, Message, Outcome, Restriction, Sequence, SubscriptionRef, UserAgentId};
use tokio::time::sleep;

use super::bench::{Bench, NOW, PARTITION, TO, id, waiting};
use crate::{PartitionGauges, TakenOver};

const OTHER: SubscriptionRef = SubscriptionRef { user_agent: UserAgentId::from_octets([9; 16]), ..TO };

/// Owner with two user agents, and a message waiting for the one that is spoilt afterwards.
async fn spoilt(bench: &Bench, restores: usize) -> TakenOver {
    let mut owned = bench.subscribed().await;
    let other = Subscription {
        id: OTHER,
        restriction: Restriction::Open,
        seen_at: NOW,
        is_noted: true,
        webhook: None,
    };
    assert_eq!(owned.store.put(None, other.clone()).await.unwrap(), Some(other));
    bench.keep(&mut owned, 1).await;
    bench.view.spoil(PARTITION, TO.user_agent, restores);
    owned
}

/// Waits until this owner has restored it `times` times.
async fn restored(bench: &Bench, owned: &TakenOver, times: u64) {
    for _ in 0..100 {
        sleep(bench.tuning.check_every).await;
        if owned.store.figures().restored == times {
            return;
        }
    }
    panic!("it was not restored");
}

#[tokio::test(start_paused = true)]
async fn it_is_refused_until_it_is_restored_and_the_others_are_answered() {
    let bench = Bench::new();
    let owned = spoilt(&bench, 0).await;
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    assert_eq!(owned.store.figures().aside, 1);
    let settled = owned.store.settle(TO.user_agent, vec![(id(1), Outcome::Delivered)]).await;
    assert_eq!(settled.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(owned.store.alive(&[TO, OTHER]).await.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(owned.store.alive(&[OTHER]).await.unwrap(), [true]);
    assert!(owned.store.remove(OTHER.user_agent, OTHER.channel).await.unwrap());
    restored(&bench, &owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
    assert_eq!(owned.store.alive(&[TO, OTHER]).await.unwrap(), [true, false]);
    assert_eq!(owned.store.settle(TO.user_agent, vec![(id(1), Outcome::Delivered)]).await.unwrap(), [true]);
    assert!(owned.ledger.snapshot().adds_up());
    assert_eq!((owned.store.figures().restored, owned.ledger.snapshot().pending), (1, 0));
    assert_eq!(owned.store.figures().catch_ups, 0, "the others were not told again");
}

#[tokio::test(start_paused = true)]
async fn it_is_shown_in_the_meter_until_it_is_restored() {
    let meter = Meter::new();
    let bench = Bench { gauges: PartitionGauges::new(&meter), ..Bench::new() };
    let shown = || {
        let text = meter.render();
        ["user_agents_aside", "user_agents_restored_total", "waiting"].map(|what| {
            let series = format!("pushgrid_partition_{what} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            value.unwrap_or_else(|| panic!("no {series} in {text}")).to_owned()
        })
    };
    let owned = spoilt(&bench, 0).await;
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    assert_eq!(shown(), ["1", "0", "1"]);
    restored(&bench, &owned, 1).await;
    assert_eq!((shown(), shown()), (["0", "1", "1"].map(str::to_owned), ["0", "1", "1"].map(str::to_owned)));
    drop(owned);
    assert_eq!(shown(), ["0", "1", "0"], "it is no partition of this process any more");
}

#[tokio::test(start_paused = true)]
async fn nobody_has_to_ask_for_it() {
    let bench = Bench::new();
    let owned = spoilt(&bench, 0).await;
    sleep(bench.tuning.check_every * 3).await;
    assert_eq!((owned.store.figures().restored, owned.store.figures().aside), (1, 0));
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
}

#[tokio::test(start_paused = true)]
async fn what_comes_for_it_meanwhile_is_kept_and_judged_when_it_is_restored() {
    let bench = Bench::new();
    let mut owned = spoilt(&bench, 3).await;
    let mut kept = Vec::new();
    for label in 2..=4 {
        let plain = Message::clone(&*bench.accept(label).await);
        owned.consumer.next(1).await.unwrap();
        kept.push(Arc::new(Message { topic: Some("t".parse().unwrap()), ..plain }));
    }
    assert_eq!(owned.store.store(kept.clone()).await.unwrap(), [Stored::Kept; 3]);
    assert_eq!(owned.store.store(kept).await.unwrap(), [Stored::Kept; 3], "once");
    assert_eq!(owned.ledger.snapshot().pending, 4);
    restored(&bench, &owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1), Sequence(4)]), "the newest of the topic");
    owned.store.flush().await.unwrap();
    let account = owned.ledger.snapshot();
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.pending, account.ended[Outcome::Replaced.index()]), (2, 2));
    assert_eq!(owned.store.figures().waiting, 2);
}

#[tokio::test(start_paused = true)]
async fn what_would_not_have_been_stored_ends_when_it_is_restored_and_once() {
    let (told, feed) = ToldEnds::new(NOW);
    let bench = Bench { ends: Some(feed), ..Bench::new() };
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    bench.view.spoil(PARTITION, TO.user_agent, 1);
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    let of_earlier_life = SubscriptionRef { incarnation: Incarnation::from_octets([9; 12]), ..TO };
    let mut came = Vec::new();
    for (label, to) in [(1, TO), (2, of_earlier_life), (3, TO), (3, TO)] {
        let plain = Message::clone(&*bench.accept(label).await);
        owned.consumer.next(1).await.unwrap();
        came.push(Arc::new(Message { to, ..plain }));
    }
    assert_eq!(owned.store.store(came).await.unwrap(), [Stored::Kept; 4], "nobody can tell yet");
    restored(&bench, &owned, 1).await;
    for is_lost in [false, true, false] {
        assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1), Sequence(4)]));
        let account = owned.ledger.snapshot();
        assert!(account.adds_up(), "{account:?}");
        assert_eq!((account.accepted, account.pending, owned.store.figures().waiting), (5, 2, 2));
        assert_eq!(account.ended[Outcome::Unsubscribed.index()], 1);
        assert_eq!(account.ended[Outcome::Replaced.index()], 2);
        // Set aside once more, it is read from the same records.
        bench.view.spoil(PARTITION, TO.user_agent, 0);
        assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
        let times = owned.store.figures().restored + 1;
        restored(&bench, &owned, times).await;
        owned.store.close().await.unwrap();
        if is_lost {
            bench.view.lose_everything();
        }
        owned = bench.open().await;
    }
    let told: BTreeMap<_, _> =
        told.all().into_iter().map(|(_, end)| ((end.id, end.sequence), (end.to, end.outcome))).collect();
    let expected = [
        ((id(1), Sequence(2)), (Some(TO), Outcome::Replaced)),
        ((id(2), Sequence(3)), (Some(of_earlier_life), Outcome::Unsubscribed)),
        ((id(3), Sequence(5)), (Some(TO), Outcome::Replaced)),
    ];
    assert_eq!(told, BTreeMap::from(expected), "each with the subscription that it was sent to");
    let ended = vec![(id(1), Outcome::Delivered), (id(3), Outcome::Delivered)];
    assert_eq!(owned.store.settle(TO.user_agent, ended).await.unwrap(), [true, true]);
    assert!(owned.ledger.snapshot().adds_up() && owned.ledger.snapshot().pending == 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_restored_with_another_that_fails_is_finished_all_the_same() {
    let bench = Bench::new();
    let mut owned = spoilt(&bench, 0).await;
    bench.view.spoil(PARTITION, OTHER.user_agent, 0);
    bench.view.break_off(OTHER.user_agent, 1);
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    let mut kept = Vec::new();
    for label in 2..=3 {
        let plain = Message::clone(&*bench.accept(label).await);
        owned.consumer.next(1).await.unwrap();
        kept.push(Arc::new(Message { topic: Some("t".parse().unwrap()), ..plain }));
    }
    assert_eq!(owned.store.store(kept).await.unwrap(), [Stored::Kept; 2]);
    restored(&bench, &owned, 1).await;
    assert_eq!(owned.store.figures().aside, 1, "the other is tried again");
    let ended = owned.ledger.snapshot().ended[Outcome::Replaced.index()];
    assert_eq!(
        (waiting(&owned).await, ended),
        (Ok(vec![Sequence(1), Sequence(3)]), 1),
        "the newest of the topic"
    );
    restored(&bench, &owned, 2).await;
    assert_eq!(owned.store.alive(&[TO, OTHER]).await.unwrap(), [true; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_it_is_on_the_books_of_the_next_owner() {
    let bench = Bench::new();
    let mut owned = spoilt(&bench, usize::MAX).await;
    let second = bench.accept(2).await;
    owned.consumer.next(1).await.unwrap();
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    assert_eq!(owned.store.store(vec![second]).await.unwrap(), [Stored::Kept]);
    for number in 0..3 {
        owned.store.flush().await.unwrap();
        drop(owned);
        if number == 1 {
            bench.view.spoil(PARTITION, TO.user_agent, 0);
        }
        owned = bench.open().await;
        let account = owned.ledger.snapshot();
        assert!(account.adds_up(), "{account:?}");
        assert_eq!((account.accepted, account.pending), (2, 2), "owner {number}");
        if number == 1 {
            restored(&bench, &owned, 1).await;
        }
        if number > 0 {
            assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1), Sequence(2)]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_one_whose_restore_was_broken_off_is_counted_once() {
    let mut bench = Bench::new();
    bench.tuning.batch = 1;
    let mut owned = spoilt(&bench, 0).await;
    let second = bench.accept(2).await;
    owned.consumer.next(1).await.unwrap();
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    assert_eq!(owned.store.store(vec![second]).await.unwrap(), [Stored::Kept]);
    bench.view.break_off(TO.user_agent, usize::MAX);
    sleep(bench.tuning.check_every * 3).await;
    assert_eq!(owned.store.figures().aside, 1);
    owned.store.flush().await.unwrap();
    drop(owned);
    // With a note, and without one.
    let committed = bench.log.committed().unwrap();
    for note in [committed.note, String::new()] {
        bench.log.set_committed(Some(Commit { next: committed.next, note }));
        let owned = bench.open().await;
        let account = owned.ledger.snapshot();
        assert!(account.adds_up() && account.pending == 2, "{account:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_restored_is_tried_ever_less_often_and_stops_nothing() {
    let bench = Bench::new();
    let owned = spoilt(&bench, 5).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt), "tries double their distance");
    assert_eq!(owned.store.alive(&[OTHER]).await.unwrap(), [true]);
    restored(&bench, &owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
    // Spoilt again, it goes on with the pauses where it was.
    bench.view.spoil(PARTITION, TO.user_agent, 0);
    sleep(bench.tuning.check_every * 3).await;
    assert_eq!(owned.store.figures().aside, 1);
    restored(&bench, &owned, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_lost_meanwhile_is_told_again_with_everybody() {
    let bench = Bench::new();
    let owned = spoilt(&bench, 2).await;
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Corrupt));
    bench.view.lose_everything();
    sleep(bench.tuning.check_every * 3).await;
    assert_eq!(owned.store.alive(&[OTHER]).await.unwrap(), [true]);
    restored(&bench, &owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_changelog_that_cannot_be_read_puts_it_off_and_stops_nothing() {
    let bench = Bench::new();
    let owned = spoilt(&bench, 0).await;
    bench.changelog.set_down(true);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((owned.store.figures().aside, owned.store.figures().restored), (1, 0));
    assert_eq!(owned.store.alive(&[OTHER]).await.unwrap(), [true]);
    bench.changelog.set_down(false);
    restored(&bench, &owned, 1).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_late_record_of_a_fenced_owner_is_not_restored_and_takes_nothing_away() {
    let bench = Bench::new();
    drop(spoilt(&bench, 0).await);
    let earlier = MemoryChangelog::clone(&bench.changelog).history(PARTITION)[0].by;
    let owned = bench.open().await;
    // Late, by the right of the first owner.
    let late = Change::Unsubscribed(TO);
    bench.changelog.append(PARTITION, earlier, vec![late]).await.unwrap();
    bench.view.spoil(PARTITION, TO.user_agent, 0);
    restored(&bench, &owned, 1).await;
    assert_eq!(owned.store.alive(&[TO]).await.unwrap(), [true]);
    let last = bench.changelog.history(PARTITION).pop().unwrap();
    let made = matches!(&last.change, Change::Subscribed(made) if made.id == TO);
    assert!(
        made && last.by == owned.leader_epoch,
        "it is written again, or compaction would take it away: {last:?}"
    );
}
