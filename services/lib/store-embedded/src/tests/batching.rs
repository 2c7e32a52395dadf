//! Group commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pushgrid_store::{End, ErrorKind, EventLog, LogConsumer, Mailbox};
use pushgrid_types::{Outcome, Sequence};
use tokio::task::JoinSet;

use super::{Home, message, subscription};

/// Starts `count` calls at the same time on this thread, and returns once each has reached its first wait.
async fn start<T: Send + 'static>(
    count: usize,
    call: impl AsyncFn(usize) -> T + Clone + 'static,
    tasks: &tokio::task::LocalSet,
) -> Vec<tokio::task::JoinHandle<T>> {
    let started = Arc::new(AtomicUsize::new(0));
    let mut handles = Vec::new();
    for at in 0..count {
        let (started, call) = (Arc::clone(&started), call.clone());
        handles.push(tasks.spawn_local(async move {
            started.fetch_add(1, Ordering::SeqCst);
            call(at).await
        }));
    }
    while started.load(Ordering::SeqCst) < count {
        tokio::task::yield_now().await;
    }
    handles
}

#[tokio::test]
async fn what_gathers_during_a_commit_is_one_transaction() {
    let home = Home::new();
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            let other = home.connection();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let store = home.store.clone();
            let append = async move |at| {
                let label = u64::try_from(at).unwrap();
                store.append(message(subscription(1), label)).await.unwrap()
            };
            let appends = start(64, append, &tasks).await;
            assert_eq!(home.store.commits(), 0, "nothing can be committed while the other one writes");
            other.execute_batch("ROLLBACK").unwrap();
            let mut sequences = BTreeSet::new();
            for append in appends {
                sequences.insert(append.await.unwrap());
            }
            assert_eq!(sequences, (1..=64).map(Sequence).collect(), "each has a place of its own");
            let commits = home.store.commits();
            assert!(commits <= 2, "the first may have gone ahead, the others go together: {commits} commits");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_appends_at_once_to_one_user_agent_all_come_out_in_order() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    let mut appends = JoinSet::new();
    for label in 0..1000 {
        let store = home.store.clone();
        appends.spawn(async move { store.append(message(subscription(1), label)).await.unwrap() });
    }
    let mut handed_out = Vec::new();
    while handed_out.len() < 1000 {
        handed_out.extend(consumer.next(100).await.unwrap().iter().map(|message| message.sequence));
    }
    assert!(handed_out.is_sorted(), "in the order of their sequences");
    let accepted: BTreeSet<_> = appends.join_all().await.into_iter().collect();
    assert_eq!(Vec::from_iter(accepted), handed_out, "every one, once");
    let commits = home.store.commits();
    assert!(commits < 500, "{commits} commits for a thousand appends");
}

#[tokio::test]
async fn a_change_that_is_refused_does_not_fail_its_company() {
    let home = Home::new();
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            let other = home.connection();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let store = home.store.clone();
            let call = async move |at: usize| {
                let message = message(subscription(1), u64::try_from(at).unwrap());
                if at == 5 {
                    // It was never accepted, so it has no sequence.
                    let refused = store.store(vec![Arc::new(message)]).await;
                    return refused.map(|_| ()).map_err(|error| error.kind);
                }
                store.append(message).await.map(|_| ()).map_err(|error| error.kind)
            };
            let calls = start(10, call, &tasks).await;
            other.execute_batch("ROLLBACK").unwrap();
            for (at, call) in calls.into_iter().enumerate() {
                let expected = if at == 5 { Err(ErrorKind::Corrupt) } else { Ok(()) };
                assert_eq!(call.await.unwrap(), expected, "call {at}");
            }
            let account = home.store.ledger().snapshot();
            assert_eq!((account.accepted, account.pending), (9, 9));
            let next = home.store.append(message(subscription(1), 99)).await.unwrap();
            assert_eq!(next, Sequence(10), "what failed has taken no sequence");
        })
        .await;
}

#[tokio::test]
async fn deliveries_join_the_next_transaction() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    for label in 0..20 {
        home.append(message(subscription(1), label)).await;
    }
    let batch = consumer.next(20).await.unwrap();
    let before = home.store.commits();
    for message in &batch {
        consumer.settle(vec![End::of(message, Outcome::Delivered)]);
    }
    home.store.flush().await.unwrap();
    let commits = home.store.commits() - before;
    assert!(commits <= 3, "{commits} commits for twenty deliveries and a flush");
    assert_eq!(home.store.ledger().snapshot().pending, 0);
}

#[tokio::test]
async fn a_delivery_is_written_though_nothing_else_is() {
    let home = Home::new();
    home.subscribe(subscription(1)).await;
    let accepted = home.append(message(subscription(1), 1)).await;
    home.store.store(vec![accepted.clone()]).await.unwrap();
    let ended = vec![(accepted.id, Outcome::Delivered)];
    assert_eq!(home.store.settle(accepted.to.user_agent, ended).await.unwrap(), [true]);
    assert!(home.waiting(accepted.to.user_agent).await.is_empty());
}

#[tokio::test]
async fn a_full_queue_refuses_an_append_and_changes_nothing() {
    let home = Home::with(|config| crate::EmbeddedConfig { queue_octets: 4000, ..config });
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            let other = home.connection();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            // The committer takes what is there when it wakes; what comes then has to wait.
            let store = home.store.clone();
            let call = async move |at: usize| {
                let message = message(subscription(1), u64::try_from(at).unwrap());
                store.append(message).await.map_err(|error| error.kind)
            };
            let calls = start(50, call, &tasks).await;
            other.execute_batch("ROLLBACK").unwrap();
            let mut accepted = 0;
            for call in calls {
                match call.await.unwrap() {
                    Ok(_) => accepted += 1,
                    Err(kind) => assert_eq!(kind, ErrorKind::Unavailable),
                }
            }
            assert!((1..50).contains(&accepted), "{accepted} of 50 found room");
            let account = home.store.ledger().snapshot();
            assert_eq!((account.accepted, account.pending), (accepted, accepted));
        })
        .await;
}
