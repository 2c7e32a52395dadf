//! State found by the next life, whichever moment ended the previous one.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pushgrid_store::{End, ErrorKind, EventLog, LogConsumer, Mailbox, Stored, Subscriptions};
use pushgrid_types::{ClockOffset, Content, KeptTime, Message, Outcome, Sequence};
use tempfile::TempDir;

use super::{Home, NOW, message, subscription};
use crate::{Embedded, EmbeddedConfig};

/// Copies the files as they are: the state after a crash right now.
fn crashed(home: &Home) -> Home {
    let directory = TempDir::new().unwrap();
    for name in ["pushgrid.sqlite", "pushgrid.sqlite-wal"] {
        fs::copy(home.directory.path().join(name), directory.path().join(name)).unwrap();
    }
    let store = Embedded::open(&EmbeddedConfig::at(directory.path())).unwrap();
    Home { directory, store }
}

#[tokio::test]
async fn after_every_step_a_crash_leaves_an_account_that_adds_up() {
    let home = Home::new();
    let to = subscription(1);
    let mut consumer = home.store.consumer().unwrap();
    let check = async |step: &str| {
        home.store.flush().await.unwrap();
        let account = home.store.ledger().snapshot();
        assert!(account.adds_up(), "{step}: {account:?}");
        let next = crashed(&home);
        assert_eq!(next.store.ledger().snapshot(), account, "{step}");
        let usage = home.store.usage(to.user_agent).await.unwrap();
        assert_eq!(next.store.usage(to.user_agent).await.unwrap(), usage, "{step}");
        let appended = next.append(message(to, 1000)).await;
        assert_eq!(appended.sequence, Sequence(account.accepted + 1), "{step}: sequences go on");
    };
    check("nothing").await;
    home.subscribe(to).await;
    let mut accepted = Vec::new();
    for label in 0..10 {
        let topic = (label > 6).then(|| "t".parse().unwrap());
        accepted.push(home.append(Message { topic, ..message(to, label) }).await);
    }
    check("appends").await;
    consumer.next(10).await.unwrap();
    consumer.settle(vec![End::of(&accepted[0], Outcome::Delivered), End::of(&accepted[1], Outcome::Expired)]);
    check("settled in the log").await;
    home.store.store(accepted[2..].to_vec()).await.unwrap();
    check("stored, with topics replaced").await;
    home.store.settle(to.user_agent, vec![(accepted[2].id, Outcome::Delivered)]).await.unwrap();
    home.store.settle(to.user_agent, vec![(accepted[3].id, Outcome::Cancelled)]).await.unwrap();
    check("settled in the mailbox").await;
    home.store.expire(accepted[4].expires_at, 1).await.unwrap();
    check("one expired").await;
    assert!(home.store.remove(to.user_agent, to.channel).await.unwrap());
    check("unsubscribed").await;
    let account = home.store.ledger().snapshot();
    assert_eq!((account.accepted, account.ended_total(), account.pending), (10, 10, 0));
}

/// The store can write again before the end is retried, so the flush alone would succeed.
#[tokio::test]
async fn a_flush_of_ends_fails_with_an_end_that_is_written_later() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    let accepted = home.append(message(subscription(1), 1)).await;
    consumer.next(1).await.unwrap();
    let other = home.connection();
    // An overflow is a failure that may pass; a broken constraint is none.
    let refuse =
        "CREATE TRIGGER refuse BEFORE DELETE ON message BEGIN SELECT abs(-9223372036854775807 - 1); END";
    other.execute_batch(refuse).unwrap();
    consumer.settle(vec![End::of(&accepted, Outcome::Cancelled)]);
    assert_eq!(consumer.flush().await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(consumer.flush().await.unwrap_err().kind, ErrorKind::Unavailable, "still not written");
    home.store.flush().await.expect("a change that ends nothing can be written");
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    consumer.flush().await.expect("the end goes with the next flush");
    let next = crashed(&home);
    let account = next.store.ledger().snapshot();
    assert_eq!((account.pending, account.ended[Outcome::Cancelled.index()]), (0, 1));
}

#[tokio::test]
async fn a_flush_of_ends_finds_the_store_closed() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    let accepted = home.append(message(subscription(1), 1)).await;
    consumer.next(1).await.unwrap();
    home.store.close().await;
    consumer.settle(vec![End::of(&accepted, Outcome::Cancelled)]);
    assert_eq!(consumer.flush().await.unwrap_err().kind, ErrorKind::Closed);
}

// Holds: A-39.
#[tokio::test]
async fn what_was_answered_survives_a_crash_without_any_close() {
    let home = Home::new();
    let to = subscription(1);
    home.subscribe(to).await;
    let mut accepted = Vec::new();
    for label in 0..200 {
        accepted.push(home.append(message(to, label)).await);
    }
    let stored = home.store.store(accepted[..100].to_vec()).await.unwrap();
    assert_eq!(stored, vec![Stored::Kept; 100]);

    let next = crashed(&home);
    let waiting: Vec<_> = next.waiting(to.user_agent).await.into_iter().map(Arc::new).collect();
    assert_eq!(waiting, accepted[..100], "what was stored");
    let mut consumer = next.store.consumer().unwrap();
    let mut handed_out = Vec::new();
    while handed_out.len() < 100 {
        handed_out.extend(consumer.next(1000).await.unwrap());
    }
    assert_eq!(handed_out, accepted[100..], "and what was not");
}

#[tokio::test]
async fn a_drop_waits_for_what_was_asked_for() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    let accepted = home.append(message(subscription(1), 1)).await;
    consumer.next(1).await.unwrap();
    consumer.settle(vec![End::of(&accepted, Outcome::Delivered)]);
    drop((home.store, consumer));
    let store = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    let account = store.ledger().snapshot();
    assert_eq!((account.pending, account.ended[Outcome::Delivered.index()]), (0, 1));
}

#[tokio::test]
async fn closing_leaves_one_file_with_everything_in_it() {
    let home = Home::new();
    for label in 0..50 {
        home.append(message(subscription(1), label)).await;
    }
    home.store.close().await;
    let log = home.directory.path().join("pushgrid.sqlite-wal");
    assert!(fs::metadata(log).map_or(0, |log| log.len()) == 0, "nothing is left in the write-ahead log");
    let store = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    assert_eq!(store.ledger().snapshot().pending, 50);
}

#[tokio::test]
async fn the_write_ahead_log_begins_anew_under_load() {
    let home = Home::new();
    let mut consumer = home.store.consumer().unwrap();
    let body = Bytes::from(vec![7; 64 << 10]);
    for label in 0..100 {
        // 1 MiB in one transaction, which is delivered at once: nothing ever pauses.
        let appends: Vec<_> = (0..16)
            .map(|at| {
                let sent = message(subscription(1), label * 16 + at);
                let content = Content { body: body.clone(), ..sent.content.clone() };
                let store = home.store.clone();
                tokio::spawn(async move { store.append(Message { content, ..sent }).await.unwrap() })
            })
            .collect();
        for append in appends {
            append.await.unwrap();
        }
        let mut taken = 0;
        while taken < 16 {
            let batch = consumer.next(16).await.unwrap();
            taken += batch.len();
            consumer.settle(batch.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
        }
    }
    let octets = fs::metadata(home.directory.path().join("pushgrid.sqlite-wal")).unwrap().len();
    assert!(octets < 80 << 20, "{octets} octets of log for 100 MiB that were written, and deleted");
    assert!(octets > 8 << 20, "{octets} octets of log: too few to show anything");
}

#[tokio::test]
async fn a_sweep_looks_once_for_what_has_ended_otherwise() {
    let home = Home::new();
    let to = subscription(1);
    home.subscribe(to).await;
    let soon = Message { expires_at: NOW.plus(Duration::from_secs(1)), ..message(to, 1) };
    let soon = home.append(soon).await;
    let late = home.append(message(to, 2)).await;
    home.store.store(vec![soon.clone(), late.clone()]).await.unwrap();
    home.store.settle(to.user_agent, vec![(soon.id, Outcome::Delivered)]).await.unwrap();
    let usages = &home.store.shared().usages;
    assert_eq!(usages.due(soon.expires_at, 10), [to.user_agent], "the message that ended might have expired");
    assert_eq!(home.store.expire(soon.expires_at, 10).await.unwrap(), 0);
    assert!(usages.due(soon.expires_at, 10).is_empty(), "the sweep has found out that it did not");
    assert_eq!(usages.due(late.expires_at, 10), [to.user_agent], "and when the other one will");
    assert_eq!(home.store.expire(late.expires_at, 10).await.unwrap(), 1);
    assert!(usages.due(late.expires_at, 10).is_empty(), "nobody is left");
}

fn time(boot: &str, ahead: i64) -> KeptTime {
    let offset = ClockOffset::from_micros;
    KeptTime { boot: boot.to_owned(), shift: offset(i64::MIN), ahead: offset(ahead), seen: NOW }
}

#[tokio::test]
async fn the_next_life_knows_where_the_clock_was_while_something_waits() {
    let home = Home::new();
    assert_eq!(home.store.kept_time(), None);
    home.store.keep_time(time("first", 1)).await.unwrap();
    assert_eq!(crashed(&home).store.kept_time(), None, "nothing waits that was judged by it");
    home.append(message(subscription(1), 1)).await;
    home.store.keep_time(time("second", -1)).await.unwrap();
    let next = crashed(&home);
    assert_eq!(next.store.kept_time(), Some(&time("second", -1)));
    assert!(next.store.ledger().snapshot().adds_up());
}

#[tokio::test]
async fn data_of_a_release_that_kept_no_clock_is_opened() {
    let home = Home::new();
    home.append(message(subscription(1), 1)).await;
    home.connection().execute_batch("DROP TABLE clock").unwrap();
    let next = crashed(&home);
    assert_eq!(next.store.kept_time(), None);
    next.store.keep_time(time("first", 1)).await.unwrap();
    assert_eq!(crashed(&next).store.kept_time(), Some(&time("first", 1)));
}

#[tokio::test]
async fn an_end_that_somebody_reads_through_neither_waits_nor_forgets_the_log() {
    let home = Home::new();
    home.append(message(subscription(1), 1)).await;
    let reader = home.connection();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM message").unwrap();
    home.append(message(subscription(1), 2)).await;
    let began = Instant::now();
    home.store.close().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let note = || std::fs::metadata(home.directory.path().join("lock")).unwrap().len();
    assert!(note() > 0, "the log has yet to be examined");
    reader.execute_batch("ROLLBACK").unwrap();
    let store = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    assert_eq!(store.ledger().snapshot().accepted, 2);
    drop(reader);
    // The check that follows may read for a moment.
    store.close().await;
}
