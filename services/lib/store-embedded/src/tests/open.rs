//! What is refused when a store is opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use tempfile::TempDir;

use super::Home;
use crate::{Embedded, EmbeddedConfig, OpenError, directory};

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
    assert!(matches!(refused, OpenError::Newer { found: 1000, known: 1 }), "{refused:?}");
}

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
