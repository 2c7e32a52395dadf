//! A database with unreadable pages.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgrid_store::{ErrorKind, LogConsumer, Mailbox, PageStart, Stored, Subscriptions};
use pushgrid_types::{Content, Message};
use tokio::task::JoinSet;

use super::{Home, NOW, message, subscription};
use crate::damage::Damage;
use crate::{Embedded, EmbeddedConfig, OpenError, directory};

const USER_AGENTS: u8 = 4;
const EACH: u64 = 10;

/// Message whose row fills most of a page.
fn large(label: u8, number: u64) -> Message {
    let mut body = vec![label; 3000];
    body.extend(number.to_be_bytes());
    let content = Content { body: Bytes::from(body), ..Content::default() };
    Message { content, ..message(subscription(label), u64::from(label) << 32 | number) }
}

/// Store in which each user agent has several messages, all of them in the file.
async fn filled(stored: bool) -> Home {
    let home = Home::new();
    for label in 0..USER_AGENTS {
        home.subscribe(subscription(label)).await;
        for number in 0..EACH {
            let accepted = home.append(large(label, number)).await;
            if stored {
                home.store.store(vec![accepted]).await.unwrap();
            }
        }
    }
    home.store.close().await;
    home
}

/// Overwrites `octets` at offset `at` of the page of message `number` of user agent `label`.
fn damage(home: &Home, label: u8, number: u64, octets: &[u8], at: u64) {
    let path = home.directory.path().join(directory::DATABASE_FILE);
    let whole = fs::read(&path).unwrap();
    let text = large(label, number).content.body;
    let body = whole.windows(text.len()).position(|window| window == text).expect("the body is in the file");
    let page = body / 4096 * 4096;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(octets, page as u64 + at).unwrap();
}

fn open(home: &Home) -> Embedded {
    Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap()
}

/// Number of readable messages of each user agent.
async fn waiting(store: &Embedded) -> BTreeMap<u8, u64> {
    let mut waiting = BTreeMap::new();
    for label in 0..USER_AGENTS {
        let user_agent = subscription(label).user_agent;
        let page = store.page(user_agent, PageStart::FIRST, NOW, super::ALL).await.unwrap().messages;
        waiting.insert(label, page.len() as u64);
    }
    waiting
}

#[tokio::test]
async fn a_damaged_page_keeps_back_its_own_messages_alone_and_is_named() {
    let home = filled(true).await;
    // Its one cell points out of the page.
    damage(&home, 1, 4, &[0xff, 0xff], 8);
    let store = open(&home);
    let mut known = store.damage();
    assert_eq!(waiting(&store).await, BTreeMap::from([(0, EACH), (1, EACH - 1), (2, EACH), (3, EACH)]));
    assert!(store.damage_met() > 0);
    let named = known.wait_for(|known| known.as_ref().is_some_and(|text| text.contains("age ")));
    let named = named.await.unwrap().clone().unwrap();
    assert!(named.contains("see the log"), "{named}");

    // Whoever has nothing on that page goes on in every way.
    let to = subscription(2);
    let accepted = home_of(&store, large(2, 99)).await;
    assert_eq!(store.store(vec![accepted.clone()]).await.unwrap(), [Stored::Kept]);
    let late = NOW.plus(std::time::Duration::from_secs(4000));
    let ended = store.expire(late, 1000).await.unwrap();
    assert!(ended as u64 > 3 * EACH, "{ended} messages have expired");
    assert_eq!(store.expire(late, 1000).await.unwrap(), 0, "what cannot be ended is not tried for ever");
    assert_eq!(store.usage(to.user_agent).await.unwrap().messages, 0);
    assert!(store.find(to.user_agent, to.channel).await.unwrap().is_some());
}

async fn home_of(store: &Embedded, message: Message) -> Arc<Message> {
    let sequence = pushgrid_store::EventLog::append(store, message.clone()).await.unwrap();
    Arc::new(Message { sequence, ..message })
}

#[tokio::test]
async fn a_row_that_makes_no_sense_keeps_back_its_own_messages_alone() {
    let home = Home::new();
    let mut accepted = Vec::new();
    for label in 1..=3 {
        home.subscribe(subscription(label)).await;
        accepted.push(home.append(message(subscription(label), label.into())).await);
    }
    let octets = |label| subscription(label).user_agent.as_octets().to_vec();
    let cut = "UPDATE subscription SET incarnation = x'010203' WHERE user_agent = ?1";
    home.connection().execute(cut, [octets(1)]).unwrap();
    assert_eq!(home.store.store(accepted).await.unwrap(), [Stored::Kept; 3]);
    for (label, waiting) in [(1, 0), (2, 1), (3, 1)] {
        assert_eq!(home.waiting(subscription(label).user_agent).await.len(), waiting, "{label}");
    }
    assert!(home.store.damage_met() > 0, "somebody has to look");

    let spoilt = "UPDATE message SET octets = -1 WHERE user_agent = ?1";
    home.connection().execute(spoilt, [octets(2)]).unwrap();
    let late = NOW.plus(std::time::Duration::from_secs(4000));
    assert_eq!(home.store.expire(late, 1000).await.unwrap(), 1);
    assert_eq!(home.store.usage(subscription(3).user_agent).await.unwrap().messages, 0);
    assert_eq!(home.store.expire(late, 1000).await.unwrap(), 0, "what cannot be ended is not tried for ever");
}

/// Sequences of all messages that a consumer is handed from the file.
async fn handed_out(store: &Embedded) -> Vec<u64> {
    let mut consumer = store.consumer().unwrap();
    // A closed log hands out what it has, and then says that this was all.
    store.close().await;
    let mut sequences = Vec::new();
    loop {
        let batch = consumer.next(1000).await.unwrap();
        if batch.is_empty() {
            return sequences;
        }
        sequences.extend(batch.iter().map(|message| message.sequence.0));
    }
}

#[tokio::test]
async fn the_log_is_read_around_a_damaged_page() {
    let all = u64::from(USER_AGENTS) * EACH;
    // The header of the page, and the pointer to its one cell: out of the page, and into the midst of the body.
    for (octets, at) in [(&[0xff; 12][..], 0), (&[0xff, 0xff], 8), (&[0x0c, 0x00], 8), (&[0x00, 0x00], 8)] {
        for damaged in [EACH + 1, 2 * EACH + 4, all] {
            let home = filled(false).await;
            let store = open(&home);
            let label = u8::try_from((damaged - 1) / EACH).unwrap();
            damage(&home, label, (damaged - 1) % EACH, octets, at);
            let expected: Vec<u64> = (1..=all).filter(|sequence| *sequence != damaged).collect();
            assert_eq!(handed_out(&store).await, expected, "{damaged} with {octets:?} at {at}");
            assert!(store.damage_met() > 0, "{damaged} with {octets:?} at {at} is named");
        }
    }
}

#[tokio::test]
async fn what_shares_a_page_with_a_damaged_cell_is_handed_out() {
    const COUNT: u64 = 60;
    for cell in [0, 2, 5] {
        let home = Home::new();
        for number in 0..COUNT {
            let mut body = vec![1; 300];
            body.extend(number.to_be_bytes());
            let content = Content { body: Bytes::from(body), ..Content::default() };
            home.append(Message { content, ..message(subscription(1), number) }).await;
        }
        home.store.close().await;
        let store = open(&home);
        let path = home.directory.path().join(directory::DATABASE_FILE);
        let whole = fs::read(&path).unwrap();
        let mut body = vec![1; 300];
        body.extend(30_u64.to_be_bytes());
        let page = whole.windows(body.len()).position(|window| window == body).unwrap() / 4096 * 4096;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff, 0xff], page as u64 + 8 + 2 * cell).unwrap();
        let sequences = handed_out(&store).await;
        assert_eq!(sequences.len() as u64, COUNT - 1, "cell {cell}: {sequences:?}");
        assert!(sequences.is_sorted());
        assert!(store.damage_met() > 0, "cell {cell} is named");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_for_its_damage_names_it() {
    let home = filled(true).await;
    let path = home.directory.path().join(directory::DATABASE_FILE);
    let root: i64 = {
        let connection = home.connection();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'ledger'";
        connection.query_row(root, [], |row| row.get(0)).unwrap()
    };
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 64], u64::try_from(root - 1).unwrap() * 4096).unwrap();
    let refused = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap_err();
    assert!(matches!(&refused, OpenError::Damaged { faults, .. } if !faults.is_empty()), "{refused:?}");
    assert!(refused.to_string().contains("pushgrid restore"), "{refused}");
}

#[tokio::test]
async fn a_damaged_page_of_subscriptions_is_an_error_that_is_counted_and_told() {
    let home = filled(false).await;
    let path = home.directory.path().join(directory::DATABASE_FILE);
    let root: i64 = {
        let connection = home.connection();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'subscription'";
        connection.query_row(root, [], |row| row.get(0)).unwrap()
    };
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 8], u64::try_from(root - 1).unwrap() * 4096).unwrap();
    let store = open(&home);
    let mut known = store.damage();
    let refused = store.count(subscription(1).user_agent).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Corrupt);
    known.wait_for(Option::is_some).await.unwrap();
    assert_eq!(store.damage_met(), 1);
}

fn check(home: &Home, patience: Duration) -> Arc<Damage> {
    Damage::with_patience(&home.directory.path().join(directory::DATABASE_FILE), patience)
}

/// Store of several pieces.
async fn with_pieces() -> Home {
    let home = filled(true).await;
    let store = open(&home);
    let mut appends = JoinSet::new();
    for number in 1000..3500 {
        let store = store.clone();
        appends.spawn(async move { home_of(&store, message(subscription(0), number)).await });
    }
    store.store(appends.join_all().await).await.unwrap();
    store.close().await;
    Home { store, ..home }
}

#[tokio::test]
async fn a_check_that_has_no_time_goes_on_in_pieces() {
    let home = with_pieces().await;
    let find = |patience| {
        let check = check(&home, patience);
        check.look();
        check.watch().borrow().clone()
    };
    assert_eq!(find(Duration::ZERO), None, "nothing is damaged");
    // Only who reads the row finds a fault.
    home.connection().execute("UPDATE message SET id = x'00' WHERE seq = 24", []).unwrap();
    assert_eq!(find(Duration::from_mins(10)), None);
    let found = find(Duration::ZERO).expect("it is found");
    assert!(found.contains("messages behind number 23"), "{found}");
}

#[tokio::test]
async fn a_check_in_pieces_reads_every_tree() {
    let names = ["message", "message_of_user_agent", "message_by_id", "message_by_topic", "subscription"];
    for name in names {
        let home = with_pieces().await;
        let root: i64 = {
            let connection = home.connection();
            let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
            connection.query_row(root, [name], |row| row.get(0)).unwrap()
        };
        let path = home.directory.path().join(directory::DATABASE_FILE);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 8], u64::try_from(root - 1).unwrap() * 4096).unwrap();
        let check = check(&home, Duration::ZERO);
        check.look_in_pieces();
        let found = check.watch().borrow().clone();
        assert!(found.is_some_and(|found| found.contains("cannot be read")), "{name}");
    }
}
