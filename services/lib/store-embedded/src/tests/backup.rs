//! Copies of a file that is open, written to, or left by a crash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pushgrid_store::{EventLog, Mailbox};
use tempfile::TempDir;

use super::{Home, message, subscription};
use crate::backup::{BackupError, Holdings, Progress, Restore, back_up, inspect};
use crate::{Embedded, EmbeddedConfig, OpenError, directory};

fn target() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("copy");
    (folder, file)
}

async fn with_messages(messages: u64) -> Home {
    let home = Home::new();
    home.subscribe(subscription(1)).await;
    for label in 0..messages {
        let accepted = home.append(message(subscription(1), label)).await;
        home.store.store(vec![accepted]).await.unwrap();
    }
    home
}

fn copy(home: &Home) -> (TempDir, PathBuf, Holdings) {
    let (folder, file) = target();
    let holdings = back_up(home.directory.path(), &file, &mut |_| {}).unwrap();
    (folder, file, holdings)
}

#[tokio::test]
async fn a_store_is_copied_while_it_is_open_and_after_it_was_closed() {
    let home = with_messages(20).await;
    let (folder, file, open) = copy(&home);
    assert_eq!((open.subscriptions, open.user_agents, open.messages), (1, 1, 20));
    assert!(open.made_at.is_some_and(|at| at > 1_700_000_000));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "one file, with nothing beside it");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    home.append(message(subscription(1), 99)).await;
    home.store.close().await;
    let (_folder, _, closed) = copy(&home);
    assert_eq!(closed.messages, 21);
    Embedded::open(&EmbeddedConfig::at(home.directory.path())).expect("the directory is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_and_holds_what_was_answered_before_it_began() {
    let home = with_messages(0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (store, stopped) = (home.store.clone(), stop.clone());
    let writing = tokio::spawn(async move {
        let mut label = 0;
        while !stopped.load(Ordering::Relaxed) {
            label += 1;
            store.append(message(subscription(1), label)).await.unwrap();
        }
    });
    for _ in 0..5 {
        let before = home.store.ledger().snapshot().accepted;
        let (path, (_folder, file)) = (home.directory.path().to_owned(), target());
        let copied = tokio::task::spawn_blocking(move || {
            let mut last = None;
            let holdings = back_up(&path, &file, &mut |progress| last = Some(progress));
            (holdings.unwrap(), last)
        });
        let (holdings, last) = copied.await.unwrap();
        assert!(holdings.messages >= before, "{} of {before} messages", holdings.messages);
        assert_eq!(last, Some(Progress::Checking));
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
}

#[tokio::test]
async fn what_is_restored_is_what_was_copied() {
    let home = with_messages(20).await;
    let waiting = home.waiting(subscription(1).user_agent).await;
    let (_folder, file, holdings) = copy(&home);
    let data = TempDir::new().unwrap();
    let restore = Restore::begin(data.path(), &[]).unwrap();
    let in_use = Embedded::open(&EmbeddedConfig::at(data.path())).unwrap_err();
    assert!(matches!(in_use, OpenError::InUse { .. }), "nobody begins in between");
    assert_eq!(restore.copy(&file, &mut |_| {}).unwrap(), holdings);
    restore.finish().unwrap();
    let store = Embedded::open(&EmbeddedConfig::at(data.path())).unwrap();
    assert!(store.ledger().snapshot().adds_up());
    let restored = Home { directory: data, store };
    assert_eq!(restored.waiting(subscription(1).user_agent).await, waiting);
}

#[tokio::test]
async fn only_an_empty_directory_is_restored_into() {
    let home = with_messages(1).await;
    let refused = Restore::begin(home.directory.path(), &[]).unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty { .. }), "{refused:?}");
    let data = TempDir::new().unwrap();
    fs::write(data.path().join("something"), "").unwrap();
    let refused = Restore::begin(data.path(), &[]).unwrap_err();
    assert!(refused.to_string().contains("something"), "{refused}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing was changed");
}

#[tokio::test]
async fn a_restore_that_was_interrupted_is_refused_as_a_database_and_can_be_repeated() {
    let home = with_messages(20).await;
    let (_folder, file, holdings) = copy(&home);
    let data = TempDir::new().unwrap();
    Restore::begin(data.path(), &["keys"]).unwrap().copy(&file, &mut |_| {}).unwrap();
    fs::write(data.path().join("keys"), "").unwrap();
    let refused = Embedded::open(&EmbeddedConfig::at(data.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Unrestored { .. }), "{refused:?}");
    assert!(refused.to_string().contains("pushgrid restore"), "{refused}");
    Restore::begin(data.path(), &[]).expect_err("something else is there");
    let restore = Restore::begin(data.path(), &["keys"]).unwrap();
    assert_eq!(restore.copy(&file, &mut |_| {}).unwrap(), holdings);
    restore.finish().unwrap();
    let store = Embedded::open(&EmbeddedConfig::at(data.path())).unwrap();
    assert_eq!(store.ledger().snapshot().pending, 20);
}

#[tokio::test]
async fn a_restore_that_fails_leaves_a_directory_to_begin_in() {
    let (_folder, file) = target();
    fs::write(&file, vec![7; 8192]).unwrap();
    let data = TempDir::new().unwrap();
    Restore::begin(data.path(), &[]).unwrap().copy(&file, &mut |_| {}).unwrap_err();
    Embedded::open(&EmbeddedConfig::at(data.path())).unwrap();
}

#[tokio::test]
async fn a_damaged_copy_is_not_restored_and_a_damaged_file_not_passed_on() {
    let home = with_messages(200).await;
    let (_folder, file, _) = copy(&home);
    let mut octets = fs::read(&file).unwrap();
    let end = octets.len();
    octets[end - 4096..end - 4000].fill(0xff);
    fs::write(&file, octets).unwrap();
    let refused = inspect(&file).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused:?}");
    fs::write(&file, "").unwrap();
    assert!(matches!(inspect(&file).unwrap_err(), BackupError::NoDatabase { .. }));
    fs::write(&file, vec![7; 8192]).unwrap();
    assert!(inspect(&file).is_err());
}

#[tokio::test]
async fn there_is_no_copy_of_nothing_and_none_over_something() {
    let empty = TempDir::new().unwrap();
    let (_folder, file) = target();
    let refused = back_up(empty.path(), &file, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NoDatabase { .. }), "{refused:?}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made there");
    let home = with_messages(1).await;
    fs::write(&file, "mine").unwrap();
    back_up(home.directory.path(), &file, &mut |_| {}).unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[tokio::test]
async fn a_damaged_log_is_not_copied_away() {
    let home = with_messages(20).await;
    let crashed = TempDir::new().unwrap();
    for name in [directory::DATABASE_FILE, "pushgrid.sqlite-wal", "lock"] {
        fs::copy(home.directory.path().join(name), crashed.path().join(name)).unwrap();
    }
    let log = crashed.path().join("pushgrid.sqlite-wal");
    let mut octets = fs::read(&log).unwrap();
    let half = octets.len() / 2;
    octets[half] ^= 1;
    fs::write(&log, &octets).unwrap();
    let (_folder, file) = target();
    let refused = back_up(crashed.path(), &file, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Open(OpenError::DamagedLog(_))), "{refused:?}");
    assert_eq!(fs::read(&log).unwrap(), octets, "nothing was changed");
}

#[tokio::test]
async fn a_data_directory_is_not_taken_for_a_backup() {
    let home = with_messages(20).await;
    let data = TempDir::new().unwrap();
    let refused = |file: &std::path::Path| {
        let refused = inspect(file).unwrap_err();
        assert!(matches!(refused, BackupError::NotABackup { .. }), "{refused:?}");
        let refused = Restore::begin(data.path(), &[]).unwrap().copy(file, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("run `pushgrid backup NEW"), "{refused}");
    };
    let (copy_of, names) = (TempDir::new().unwrap(), [directory::DATABASE_FILE, "pushgrid.sqlite-wal"]);
    let copied = copy_of.path().join(directory::DATABASE_FILE);
    for name in names {
        fs::copy(home.directory.path().join(name), copy_of.path().join(name)).unwrap();
    }
    refused(&home.directory.path().join(directory::DATABASE_FILE));
    refused(&copied);
    fs::remove_file(copy_of.path().join(names[1])).unwrap();
    refused(&copied);
    assert_eq!(fs::read_dir(copy_of.path()).unwrap().count(), 1, "nothing is left there");
    home.store.close().await;
    refused(&home.directory.path().join(directory::DATABASE_FILE));

    // Whatever is beside it, a log may hold what the file does not.
    let (_folder, file, _) = copy(&home);
    inspect(&file).unwrap();
    fs::write(file.with_file_name("copy-wal"), "log").unwrap();
    refused(&file);
}
