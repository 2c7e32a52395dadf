//! Refusals of an open.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pushgrid_store::{Mailbox, Subscriptions};
use pushgrid_types::Message;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Home, message, subscription};
use crate::{Embedded, EmbeddedConfig, OpenError, directory, schema, wal};

#[tokio::test]
async fn a_directory_is_used_by_one_store_at_a_time() {
    let home = Home::new();
    let config = EmbeddedConfig::at(home.directory.path());
    let refused = Embedded::open(&config).unwrap_err();
    assert!(matches!(&refused, OpenError::InUse { path } if path == home.directory.path()));
    assert!(refused.to_string().starts_with("another pushgrid is using the data directory"), "{refused}");
    home.store.close().await;
    Embedded::open(&config).expect("a closed store has given the directory free");
}

#[test]
fn what_others_may_not_read_is_made_so() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/b");
    let store = Embedded::open(&EmbeddedConfig::at(&path)).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.file_name());
    }
    drop(store);
}

#[test]
fn data_of_a_newer_version_is_refused_and_left_alone() {
    let home = Home::new();
    home.connection().pragma_update(None, "user_version", 1000).unwrap();
    let config = EmbeddedConfig::at(home.directory.path());
    drop(home.store);
    let refused = Embedded::open(&config).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 1000, known: 5 }), "{refused:?}");
}

#[tokio::test]
async fn data_of_earlier_versions_is_brought_up_to_this_one() {
    for undo in [VERSION_1, VERSION_2, VERSION_3, "PRAGMA user_version = 4;"] {
        is_brought_up_to_this_one(undo).await;
    }
}

async fn is_brought_up_to_this_one(undo: &str) {
    let home = Home::new();
    let to = subscription(1);
    home.subscribe(to).await;
    let mut waiting = Vec::new();
    for label in 0..4 {
        let topic = (label > 1).then(|| format!("t{label}").parse().unwrap());
        waiting.push(home.append(Message { topic, ..message(to, label) }).await);
    }
    home.store.store(waiting.clone()).await.unwrap();
    home.store.close().await;
    let connection = home.connection();
    connection.execute_batch(SINCE_4).unwrap();
    connection.execute_batch(undo).unwrap();
    let notes = connection.prepare("SELECT noted FROM subscription").is_ok();
    drop(connection);

    let store = Embedded::open(&EmbeddedConfig::at(home.directory.path())).unwrap();
    let next = Home { store, directory: home.directory };
    let newer = next.append(Message { topic: waiting[2].topic.clone(), ..message(to, 9) }).await;
    next.store.store(vec![newer]).await.unwrap();
    let labels: Vec<_> = next.waiting(to.user_agent).await.iter().map(|message| message.sequence.0).collect();
    assert_eq!(labels, [1, 2, 4, 5], "the topic is found");
    let all = next.store.all(to.user_agent).await.unwrap();
    assert_eq!((all.len(), all[0].is_noted), (1, notes), "an earlier release has noted no visit");
    assert!(next.store.remove(to.user_agent, to.channel).await.unwrap());
    assert!(next.waiting(to.user_agent).await.is_empty(), "the channel is found");
    assert!(next.store.ledger().snapshot().adds_up());
}

/// Undoes the changes since version 4.
const SINCE_4: &str = "
DROP INDEX message_with_receipt;
ALTER TABLE message DROP COLUMN receipt;
DROP INDEX subscription_with_webhook;
ALTER TABLE subscription DROP COLUMN webhook;
";

/// Undoes the changes since version 1.
const VERSION_1: &str = "
ALTER TABLE subscription DROP COLUMN noted;
DROP INDEX message_of_user_agent;
CREATE INDEX message_of_user_agent ON message (user_agent, seq, expires_at, octets) WHERE stored = 1;
PRAGMA user_version = 1;
";

/// Undoes the changes since version 2.
const VERSION_2: &str = "
ALTER TABLE subscription DROP COLUMN noted;
DROP INDEX message_of_user_agent;
CREATE INDEX message_of_user_agent ON message (user_agent, seq, expires_at, octets) WHERE stored = 1;
DROP INDEX message_by_topic;
CREATE UNIQUE INDEX message_of_channel ON message (user_agent, channel, incarnation, topic) WHERE stored = 1;
PRAGMA user_version = 2;
";

/// Undoes the changes since version 3.
const VERSION_3: &str = "
ALTER TABLE subscription DROP COLUMN noted;
DROP INDEX message_of_user_agent;
CREATE INDEX message_of_user_agent ON message (user_agent, seq, expires_at, octets, channel) WHERE stored = 1;
PRAGMA user_version = 3;
";

#[test]
fn a_database_of_something_else_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(directory::DATABASE_FILE);
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (id)").unwrap();
    let refused = Embedded::open(&EmbeddedConfig::at(directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign), "{refused:?}");

    fs::write(&file, vec![7; 8192]).unwrap();
    let refused = Embedded::open(&EmbeddedConfig::at(directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Database(_)), "{refused:?}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    let refused = Embedded::open(&EmbeddedConfig::at(&path)).unwrap_err();
    assert!(matches!(&refused, OpenError::Directory { path: named, .. } if *named == path), "{refused:?}");
}

#[test]
fn nothing_of_a_large_transaction_is_in_the_log_before_its_commit() {
    let directory = TempDir::new().unwrap();
    directory::make_database(directory.path()).unwrap();
    let file = directory.path().join(directory::DATABASE_FILE);
    let writer = schema::open_writer(&file).unwrap();
    let octets = || fs::metadata(wal::path_of(&file)).unwrap().len();
    writer.execute_batch("CREATE TABLE large (body BLOB); BEGIN IMMEDIATE").unwrap();
    let empty = octets();
    for _ in 0..40 {
        writer.execute("INSERT INTO large VALUES (zeroblob(1 << 20))", []).unwrap();
    }
    assert_eq!(octets(), empty, "a process that is killed now would seem to have lost a commit");
    writer.execute_batch("COMMIT").unwrap();
    assert!(octets() > empty + (40 << 20));
}
