//! One fault at a time, and what whoever asks sees of it. Time is paused.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{Change, Changelog, Commit, End, ErrorKind, Mailbox, Stored, Subscriptions, View};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::memory::{AppendFault, MemoryPartitionLog};
use pushgrid_types::{LeaderEpoch, ManualClock, Outcome, Position, ReceiptRequest, Sequence, Ttl};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::bench::{Bench, NOW, PARTITION, SUBSCRIPTION, TO, id, waiting};
use super::chance::Chance;
use super::slow::Slow;
use crate::{Deps, Health, Receipts, StopReason, take_over};

#[tokio::test(start_paused = true)]
async fn a_read_that_finds_the_view_lost_is_refused_and_has_it_made_again() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    bench.view.lose_everything();
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Unavailable));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
    assert!(bench.view.is_complete(PARTITION));
    assert_eq!(owned.store.figures().catch_ups, 1);
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_lost_while_nothing_happens_is_made_again() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    bench.view.lose_everything();
    sleep(bench.tuning.check_every * 2).await;
    assert!(bench.view.is_complete(PARTITION), "nobody had to ask");
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_until_the_view_is_there_again() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    bench.view.set_down(true);
    let (store, view) = (owned.store.clone(), bench.view.clone());
    let removed = tokio::spawn(async move { store.remove(TO.user_agent, TO.channel).await });
    sleep(Duration::from_secs(20)).await;
    assert!(!removed.is_finished());
    assert_eq!(waiting(&owned).await, Err(ErrorKind::Unavailable));
    view.set_down(false);
    sleep(bench.tuning.max_pause).await;
    assert!(removed.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses() {
    let mut bench = Bench::new();
    bench.tuning.queue = 3;
    let owned = bench.subscribed().await;
    bench.changelog.set_down(true);
    let ask = || {
        let store = owned.store.clone();
        tokio::spawn(async move { store.remove(TO.user_agent, TO.channel).await })
    };
    let first = ask();
    sleep(Duration::from_millis(1)).await;
    let queued: Vec<_> = (0..4).map(|_| ask()).collect();
    sleep(Duration::from_millis(1)).await;
    let (refused, waiting): (Vec<_>, Vec<_>) = queued.into_iter().partition(JoinHandle::is_finished);
    assert_eq!((refused.len(), waiting.len()), (1, 3), "one is being done, three wait");
    for call in refused {
        assert_eq!(call.await.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
    }
    bench.changelog.set_down(false);
    assert!(first.await.unwrap().unwrap());
    for call in waiting {
        assert!(!call.await.unwrap().unwrap(), "it was removed by the first");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_fenced_stops_and_refuses_everything() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    let later = bench.changelog.claim(PARTITION).await.unwrap();
    assert!(owned.store.remove(TO.user_agent, TO.channel).await.is_err(), "the claim stands before it");
    assert_eq!(owned.store.stopped().await, StopReason::Fenced);
    let closed = Err(ErrorKind::Closed);
    assert_eq!(owned.store.store(vec![accepted]).await.map_err(|error| error.kind), closed);
    assert_eq!(waiting(&owned).await.map(|_| Vec::new()), closed);
    assert_eq!(owned.store.alive(&[TO]).await.map(|_| Vec::new()).map_err(|error| error.kind), closed);
    assert_eq!(owned.consumer.next(1).await.unwrap(), [], "and the log ends");
    assert_eq!(*owned.store.health().borrow(), Health::Stopped(StopReason::Fenced));
    assert!(later > owned.leader_epoch);
    let next = bench.open().await;
    assert_eq!(next.store.alive(&[TO]).await.unwrap(), [true], "what the fenced owner wrote does not count");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_owner_learns_of_it_though_nothing_happens() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    bench.view.begin(PARTITION, LeaderEpoch(owned.leader_epoch.0 + 5)).await.unwrap();
    let stopped = timeout(bench.tuning.check_every * 2, owned.store.stopped()).await;
    assert_eq!(stopped, Ok(StopReason::Fenced));
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_log_was_given_away_stops_when_it_commits_and_not_before() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    owned.store.flush().await.unwrap();
    let _other = bench.log.share();
    // What is under way is to be finished and committed, if there is time.
    assert!(timeout(bench.tuning.check_every * 3, owned.store.stopped()).await.is_err());
    owned.store.remove(TO.user_agent, TO.channel).await.unwrap();
    assert_eq!(owned.store.stopped().await, StopReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn an_append_without_an_answer_is_looked_for_before_it_is_repeated() {
    let bench = Bench::new();
    let owned = bench.open().await;
    bench.changelog.fail_next(AppendFault::Unknown { written: usize::MAX });
    assert_eq!(owned.store.put(None, SUBSCRIPTION).await.unwrap(), Some(SUBSCRIPTION));
    assert_eq!(bench.changelog.history(PARTITION).len(), 2, "the claim and the subscription, once");
    bench.changelog.fail_next(AppendFault::Unavailable);
    assert!(owned.store.remove(TO.user_agent, TO.channel).await.unwrap());
    assert_eq!(bench.changelog.history(PARTITION).len(), 3);
    assert_eq!(owned.store.figures().repeats, 2);
}

#[tokio::test(start_paused = true)]
async fn what_gathers_is_done_in_one_cycle() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    let applies = bench.view.applies();
    let mut calls = Vec::new();
    for label in 0..100 {
        let accepted = bench.accept(label).await;
        assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
        let store = owned.store.clone();
        calls.push(tokio::spawn(async move { store.store(vec![accepted]).await.unwrap() }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), [Stored::Kept]);
    }
    let settle = |label| {
        let store = owned.store.clone();
        tokio::spawn(async move { store.settle(TO.user_agent, vec![(id(label), Outcome::Delivered)]).await })
    };
    let calls: Vec<_> = (0..100).map(settle).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), [true]);
    }
    let applies = bench.view.applies() - applies;
    assert!(applies < 110, "{applies} calls that changed the view for 200 operations");
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_committed_together_after_a_moment() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    let before = owned.store.figures().commits;
    for label in 0..200 {
        let accepted = bench.accept(label).await;
        assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
        owned.consumer.settle(vec![End::of(&accepted, Outcome::Delivered)]);
    }
    assert_eq!(owned.store.figures().commits, before);
    sleep(bench.tuning.commit_every * 3).await;
    assert_eq!(owned.store.figures().commits, before + 1);
    assert_eq!(bench.log.committed().unwrap().next, Sequence(201));
    sleep(bench.tuning.commit_every * 10).await;
    assert_eq!(owned.store.figures().commits, before + 1, "and nothing while nothing happens");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_made_later() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    bench.log.set_down(true);
    owned.consumer.settle(vec![End::of(&accepted, Outcome::Delivered)]);
    assert_eq!(owned.store.flush().await.unwrap_err().kind, ErrorKind::Unavailable);
    bench.log.set_down(false);
    sleep(bench.tuning.max_pause * 2).await;
    assert_eq!(bench.log.committed().unwrap().next, Sequence(2));
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_ends_commits_at_once_and_asks_nothing_of_the_writer() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    bench.changelog.set_down(true);
    bench.view.set_down(true);
    let (store, began) = (owned.store.clone(), Instant::now());
    let waiting = tokio::spawn(async move { store.remove(TO.user_agent, TO.channel).await });
    owned.consumer.settle(vec![End::of(&accepted, Outcome::Cancelled)]);
    let flushing = owned.consumer.flush();
    let is_new = |commit: Option<Commit>| commit.is_some_and(|commit| commit.next == Sequence(2));
    assert!(!is_new(bench.log.committed()), "nothing is asked before it is polled");
    flushing.await.unwrap();
    assert!(is_new(bench.log.committed()));
    assert!(began.elapsed() < bench.tuning.commit_every, "it does not wait for others");
    assert!(!waiting.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_ends_fails_with_the_commit() {
    let bench = Bench::new();
    let mut owned = bench.open().await;
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    owned.consumer.settle(vec![End::of(&accepted, Outcome::Cancelled)]);
    bench.log.set_down(true);
    assert_eq!(owned.consumer.flush().await.unwrap_err().kind, ErrorKind::Unavailable);
    bench.log.set_down(false);
    owned.consumer.flush().await.unwrap();
    assert_eq!(bench.log.committed().unwrap().next, Sequence(2), "the next one makes up for it");
    let flushing = owned.consumer.flush();
    owned.store.abandon().await;
    assert_eq!(flushing.await.unwrap_err().kind, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_ends_waits_for_their_receipts() {
    let bench = Bench::new();
    let log = MemoryPartitionLog::new(PARTITION);
    let receipts = Receipts { log: Arc::new(log.clone()), clock: Arc::new(ManualClock::at(NOW)) };
    let deps = Deps { receipts: Some(receipts), ..bench.deps().0 };
    let mut owned = take_over(deps).await.unwrap();
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    log.set_down(true);
    let asked = ReceiptRequest { to: TO, ttl: Ttl::from_secs(60) };
    let end = End { receipt: Some(asked), ..End::of(&accepted, Outcome::Delivered) };
    owned.consumer.settle(vec![end]);
    let mut flushing = owned.consumer.flush();
    assert!(timeout(Duration::from_mins(1), &mut flushing).await.is_err(), "the end waits for its receipt");
    log.set_down(false);
    flushing.await.unwrap();
    assert_eq!((log.last(), bench.log.committed().unwrap().next), (Sequence(1), Sequence(2)));
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_ends_without_room_in_the_note_fails_until_there_is_room() {
    let mut bench = Bench::new();
    bench.tuning.note = 0;
    let mut owned = bench.open().await;
    let (first, second) = (bench.accept(1).await, bench.accept(2).await);
    assert_eq!(owned.consumer.next(2).await.unwrap(), [first.clone(), second.clone()]);
    owned.consumer.settle(vec![End::of(&second, Outcome::Cancelled)]);
    assert_eq!(owned.consumer.flush().await.unwrap_err().kind, ErrorKind::Unavailable);
    owned.store.flush().await.expect("a commit was made, as far as there is room");
    owned.consumer.settle(vec![End::of(&first, Outcome::Cancelled)]);
    owned.consumer.flush().await.unwrap();
    drop(owned);
    let mut owned = bench.open().await;
    let third = bench.accept(3).await;
    assert_eq!(owned.consumer.next(3).await.unwrap(), [third], "neither comes again");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_ahead_than_there_is_room_for() {
    let mut bench = Bench::new();
    (bench.tuning.prefetch, bench.tuning.window) = (10, 25);
    let mut owned = bench.open().await;
    for label in 0..60 {
        bench.accept(label).await;
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(owned.ledger.snapshot().accepted, 10, "what was read ahead");
    let mut handed_out = Vec::new();
    while let Ok(batch) = timeout(Duration::from_millis(1), owned.consumer.next(7)).await {
        handed_out.extend(batch.unwrap());
    }
    assert!(
        (25..35).contains(&handed_out.len()),
        "{} were handed out, none of them dealt with",
        handed_out.len()
    );
    owned.consumer.settle(handed_out.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
    while let Ok(batch) = timeout(Duration::from_millis(1), owned.consumer.next(7)).await {
        let batch = batch.unwrap();
        owned.consumer.settle(batch.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
        handed_out.extend(batch);
    }
    assert_eq!(handed_out.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_log_may_hold_a_message_twice() {
    let mut bench = Bench::new();
    let (ends, feed) = ToldEnds::new(NOW);
    bench.ends = Some(feed);
    let mut owned = bench.subscribed().await;
    let first = bench.keep(&mut owned, 7).await;
    let second = bench.accept(7).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&second));
    let answer = owned.store.store(vec![second.clone()]).await.unwrap();
    assert_eq!(answer, [Stored::Ended(Outcome::Replaced)]);
    assert_eq!(waiting(&owned).await, Ok(vec![first.sequence]), "one waits, and that is enough");
    let told: Vec<_> = ends.all().into_iter().map(|(_, end)| end).collect();
    assert_eq!(told, [End::of(&second, Outcome::Replaced)], "no change in the changelog tells it");
    owned.store.flush().await.unwrap();
    drop(owned);
    let owned = bench.open().await;
    let account = owned.ledger.snapshot();
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.accepted, account.pending), (2, 1));
    assert_eq!(account.ended[Outcome::Replaced.index()], 1);
    assert_eq!(owned.store.settle(TO.user_agent, vec![(id(7), Outcome::Delivered)]).await.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_catch_up_shows_how_far_it_is() {
    let mut bench = Bench::new();
    (bench.tuning.batch, bench.tuning.batch_octets) = (10, 1 << 20);
    let subscribed = bench.subscribed().await;
    let ended = Change::Unsubscribed(TO);
    for _ in 0..30 {
        bench.changelog.append(PARTITION, subscribed.leader_epoch, vec![ended.clone(); 100]).await.unwrap();
    }
    drop(subscribed);
    bench.view.lose_everything();
    bench.view.set_down(true);
    let (mut deps, mut health) = bench.deps();
    deps.view = Arc::new(Slow { inner: bench.view.clone(), chance: Arc::new(Chance::new(1)) });
    let taking = tokio::spawn(take_over(deps));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(*health.borrow_and_update(), Health::TakingOver);
    bench.view.set_down(false);
    let mut seen = Vec::new();
    while health.changed().await.is_ok() {
        let health = *health.borrow_and_update();
        seen.push(health);
        if health == Health::Serving {
            break;
        }
    }
    let _owned = taking.await.unwrap().unwrap();
    assert_eq!(seen.last(), Some(&Health::Serving));
    let catching_up = |health: &Health| matches!(health, Health::CatchingUp { end: Position(3003), .. });
    assert!(seen.iter().any(catching_up), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_finishes_what_was_asked_for_and_takes_nothing_new() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    let accepted = bench.accept(1).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
    let (store, other) = (owned.store.clone(), owned.store.clone());
    let stored = tokio::spawn(async move { store.store(vec![accepted]).await });
    tokio::task::yield_now().await;
    let closed = tokio::spawn(async move { other.close().await });
    tokio::task::yield_now().await;
    let refused = owned.store.remove(TO.user_agent, TO.channel).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(stored.await.unwrap().unwrap(), [Stored::Kept]);
    closed.await.unwrap().unwrap();
    assert_eq!(owned.store.stopped().await, StopReason::Closed);
    assert_eq!(bench.log.committed().unwrap().next, Sequence(2));
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_take_for_ever() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    bench.changelog.set_down(true);
    let store = owned.store.clone();
    let removed = tokio::spawn(async move { store.remove(TO.user_agent, TO.channel).await });
    tokio::task::yield_now().await;
    let closed = timeout(bench.tuning.close_within * 2, owned.store.close()).await.unwrap();
    assert_eq!(closed.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(removed.await.unwrap().unwrap_err().kind, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_a_person_set_begins_the_account_anew() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    for label in 1..=3 {
        bench.keep(&mut owned, label).await;
    }
    owned.store.settle(TO.user_agent, vec![(id(1), Outcome::Delivered)]).await.unwrap();
    owned.store.close().await.unwrap();
    bench.accept(4).await;
    let last = bench.accept(5).await;
    bench.log.set_committed(Some(Commit { next: last.sequence, note: String::new() }));
    let mut owned = bench.open().await;
    assert_eq!(owned.consumer.next(5).await.unwrap(), [last], "what stands before the place is given up");
    assert_eq!(waiting(&owned).await, Ok(vec![Sequence(2), Sequence(3)]));
    let account = owned.ledger.snapshot();
    assert!(account.adds_up() && account.pending == 3, "{account:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_needs_a_person() {
    let bench = Bench::new();
    let (deps, health) = bench.spoilt_deps();
    assert_eq!(take_over(deps).await.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(*health.borrow(), Health::Stopped(StopReason::Corrupt));
}
