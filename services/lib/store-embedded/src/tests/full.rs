//! Want of room: changes that add something are refused, and changes that end something are not.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pushgrid_store::{End, ErrorKind, EventLog, LogConsumer, Mailbox, Stored, Subscription, Subscriptions};
use pushgrid_types::{Content, Message, Outcome, Restriction};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Home, NOW, message, subscription};
use crate::failure::Failure;
use crate::room::Room;
use crate::{Embedded, EmbeddedConfig, directory, schema, wal};

fn small() -> Home {
    Home::with(|config| EmbeddedConfig { file_octets: Some(512 << 10), ..config })
}

/// Appends until there is no room, and returns the accepted messages.
async fn fill(home: &Home) -> Vec<Arc<Message>> {
    let mut accepted = Vec::new();
    loop {
        let message = message(subscription(1), u64::try_from(accepted.len()).unwrap());
        match home.store.append(message.clone()).await {
            Ok(sequence) => accepted.push(Arc::new(Message { sequence, ..message })),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{:?}", error.source);
                return accepted;
            }
        }
        assert!(accepted.len() < 1000, "half a mebibyte has no room for a thousand messages");
    }
}

#[tokio::test]
async fn a_full_file_refuses_messages_and_recovers_when_some_have_ended() {
    let home = small();
    let mut consumer = home.store.consumer().unwrap();
    let accepted = fill(&home).await;
    assert!(accepted.len() > 100, "{} messages found room", accepted.len());
    assert_eq!(home.store.ledger().snapshot().accepted, u64::try_from(accepted.len()).unwrap());

    let ended = accepted[..50].iter().map(|message| End::of(message, Outcome::Delivered)).collect();
    consumer.settle(ended);
    home.store.flush().await.expect("ending messages and writing the account need no room");
    let again = fill(&home).await;
    assert!(again.len() >= 40, "the room of 50 messages has taken {} new ones", again.len());
    assert!(again[0].sequence > accepted.last().unwrap().sequence);

    let mut handed_out = Vec::new();
    while handed_out.len() < accepted.len() - 50 + again.len() {
        handed_out.extend(consumer.next(100).await.unwrap());
    }
    assert_eq!(handed_out.last(), again.last(), "all that was accepted and has not ended is handed out");
    let account = home.store.ledger().snapshot();
    assert!(account.adds_up());

    drop((home.store, consumer));
    let reopened = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    assert_eq!(reopened.ledger().snapshot(), account, "what was refused has left no trace");
}

#[tokio::test]
async fn of_a_batch_that_finds_no_room_what_fits_is_accepted() {
    let room = fill(&small()).await.len();
    let home = small();
    let other = home.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let append = |label| Box::pin(home.store.append(message(subscription(1), label)));
    let mut appends: Vec<_> = (0..1000).map(append).collect();
    for append in &mut appends {
        let waits = poll_fn(|context| Poll::Ready(append.as_mut().poll(context).is_pending())).await;
        assert!(waits, "nothing is committed yet");
    }
    other.execute_batch("ROLLBACK").unwrap();
    let mut accepted = Vec::new();
    for append in appends {
        match append.await {
            Ok(sequence) => accepted.push(sequence),
            Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable),
        }
    }
    assert!(accepted.len() + 10 > room, "{} of {room} messages found room", accepted.len());
    assert!(accepted.is_sorted());
    assert_eq!(home.store.ledger().snapshot().accepted, accepted.len() as u64);
    assert!(home.store.is_full());
}

#[tokio::test]
async fn a_full_file_still_ends_and_hands_out_what_it_has() {
    let home = small();
    home.subscribe(subscription(1)).await;
    let first = home.append(message(subscription(1), 10_000)).await;
    assert_eq!(home.store.store(vec![first.clone()]).await.unwrap(), [Stored::Kept]);
    fill(&home).await;
    let other = home.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (appended, settled) = {
        let append = home.store.append(message(subscription(1), 10_001));
        let settle = home.store.settle(first.to.user_agent, vec![(first.id, Outcome::Cancelled)]);
        let release = async { other.execute_batch("ROLLBACK").unwrap() };
        let (appended, settled, ()) = tokio::join!(append, settle, release);
        (appended, settled)
    };
    assert_eq!(settled.unwrap(), [true], "one that needs no room does not fail for one that does");
    if let Err(error) = appended {
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
    assert!(home.store.ledger().snapshot().adds_up());
}

#[tokio::test]
async fn in_a_full_file_everything_that_was_accepted_can_be_stored_and_can_end() {
    let home = small();
    let to = subscription(1);
    home.subscribe(to).await;
    home.subscribe(subscription(2)).await;
    let accepted = fill(&home).await;
    assert!(home.store.is_full());
    let new = Subscription {
        id: subscription(3),
        restriction: Restriction::Open,
        seen_at: NOW,
        is_noted: true,
        webhook: None,
    };
    assert_eq!(home.store.put(None, new.clone()).await.unwrap_err().kind, ErrorKind::Unavailable);

    let stored = home.store.store(accepted.clone()).await.expect("the indexes have room");
    assert!(stored.iter().all(|it| *it == Stored::Kept));
    assert!(home.store.remove(to.user_agent, subscription(2).channel).await.is_ok());
    let (first, rest) = accepted.split_at(accepted.len() / 2);
    let ended = first.iter().map(|message| (message.id, Outcome::Delivered)).collect();
    assert!(home.store.settle(to.user_agent, ended).await.unwrap().iter().all(|ended| *ended));
    assert_eq!(home.store.expire(rest[0].expires_at, 10).await.unwrap(), 10);
    assert!(home.store.remove(to.user_agent, to.channel).await.unwrap());
    let account = home.store.ledger().snapshot();
    assert_eq!(account.pending, 0);
    assert!(account.adds_up());

    assert_eq!(home.store.put(None, new.clone()).await.unwrap(), Some(new), "there is room again by itself");
    assert!(!home.store.is_full());
    assert!(fill(&home).await.len() >= accepted.len() / 2, "and for as much as before");
}

/// Connection for writes to a store without other users.
fn writer() -> (TempDir, Connection) {
    let folder = TempDir::new().unwrap();
    directory::make_database(folder.path()).unwrap();
    let writer = schema::open_writer(&folder.path().join(directory::DATABASE_FILE)).unwrap();
    (folder, writer)
}

/// Polls until `is_so` is true.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(3);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_shortage_ends_by_itself_although_no_message_ends() {
    let (folder, writer) = writer();
    let full = Arc::new(AtomicBool::new(false));
    let mut room = Room::open(folder.path(), &writer, None, Arc::clone(&full)).unwrap();
    // The reserve is held, as after a batch that was too large or that a reader was in the way of.
    room.run_out(&writer, &Failure::no_room());
    assert!(!room.admits(&writer), "not at once: it would be tried in vain with every batch");
    soon("messages are never admitted again", || room.admits(&writer));
    room.run_out(&writer, &Failure::no_room());
    assert!(room.give_up_reserve(&writer));
    assert!(full.load(Ordering::Relaxed));
    soon("batches that only end something do not end the shortage", || {
        room.look_after(&writer);
        !full.load(Ordering::Relaxed)
    });
    assert!(room.admits(&writer));
}

#[test]
fn the_file_is_bounded_from_the_start_although_somebody_reads() {
    let (folder, writer) = writer();
    let reader = Connection::open(folder.path().join(directory::DATABASE_FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM message").unwrap();
    writer.execute_batch("INSERT INTO ledger VALUES (1, 0)").unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let room = Room::open(folder.path(), &writer, Some(512 << 10), full).unwrap();
    let bound: i64 = writer.pragma_query_value(None, "max_page_count", |row| row.get(0)).unwrap();
    assert_eq!(bound, 128);
    drop((room, reader));
}

#[tokio::test]
async fn while_somebody_reads_the_file_grows_beyond_its_reserve_and_nobody_waits() {
    let home = Home::new();
    home.append(message(subscription(1), 0)).await;
    let reader = home.connection();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM message").unwrap();
    for label in 1..=110 {
        let content = Content { body: Bytes::from(vec![7; 1 << 20]), ..Content::default() };
        let began = Instant::now();
        home.append(Message { content, ..message(subscription(1), label) }).await;
        assert!(began.elapsed() < Duration::from_secs(1), "message {label} took {:?}", began.elapsed());
    }
    assert!(!home.store.is_full());
    reader.execute_batch("ROLLBACK").unwrap();
    let log = wal::path_of(&home.directory.path().join(directory::DATABASE_FILE));
    let before = std::fs::metadata(&log).unwrap().len();
    for label in 111..=140 {
        home.append(message(subscription(1), label)).await;
    }
    assert!(std::fs::metadata(&log).unwrap().len() <= before, "the log begins anew when nobody reads");
}
