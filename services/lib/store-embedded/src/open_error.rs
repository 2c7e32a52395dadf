//! Errors of an open, with the operator's ways out.

use std::io;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::keys::KeyOrigin;
use crate::wal::LostLog;

/// Errors of an open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be created, read or written.
    #[error("the data directory {} cannot be used", path.display())]
    Directory {
        /// Data directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Another process, or another store of this one, holds the data directory.
    #[error("another pushgrid is using the data directory {}", path.display())]
    InUse {
        /// Data directory.
        path: PathBuf,
    },
    /// A later version of this program wrote the file.
    #[error("the data is of version {found}, and this program knows version {known}: use a newer pushgrid")]
    Newer {
        /// Version of the file.
        found: i32,
        /// Version of this program.
        known: i32,
    },
    /// The file is a database of another application.
    #[error("the database in the data directory is not one of pushgrid's")]
    Foreign,
    /// The write-ahead log is damaged: opened as it is, the store would have lost committed changes.
    #[error("{}", refusal(.0))]
    DamagedLog(Box<LostLog>),
    /// The write-ahead log is there, but no database.
    #[error(
        "{} has messages that wait for a database, and the database beside it is gone or empty: restore it, or restore a \
         backup with `pushgrid restore`. To begin with nothing, and lose all, start once with --set standalone.accept_loss={id}",
        log.display()
    )]
    NoDatabase {
        /// The write-ahead log.
        log: PathBuf,
        /// Id of the finding, for `accept_loss`.
        id: &'static str,
    },
    /// A restore into the directory was interrupted.
    #[error(
        "a restore into the data directory was interrupted: repeat it (`pushgrid restore`). To begin with nothing, remove {} \
         and endpoint-keys, if they are from it",
        copy.display()
    )]
    Unrestored {
        /// Copy of the backup, as far as made.
        copy: PathBuf,
    },
    /// The subscriptions were sealed with other endpoint keys: all their endpoints would be answered 404.
    #[error("{}", keys_refusal(*.subscriptions, *.origin, id))]
    Keys {
        /// Number of subscriptions.
        subscriptions: u64,
        /// Origin of the keys of this process.
        origin: KeyOrigin,
        /// Id of the finding, for `accept_loss`.
        id: String,
    },
    /// The file is damaged where a start has to read.
    #[error(
        "the database {} is damaged ({}): look after the disk, and restore a backup with `pushgrid restore`",
        path.display(),
        faults.join("; ")
    )]
    Damaged {
        /// Database file.
        path: PathBuf,
        /// First faults found.
        faults: Vec<String>,
    },
    /// The file cannot be opened or read.
    #[error("the database cannot be opened")]
    Database(#[from] rusqlite::Error),
    /// The file holds values that this program never writes.
    #[error("the database cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The committer's thread could not be started.
    #[error("the thread that writes cannot be started")]
    Thread(#[source] io::Error),
}

/// Text for the operator: finding, possible loss, ways out.
fn refusal(lost: &LostLog) -> String {
    let LostLog { path, frame, offset, frames, transactions, messages, id, .. } = lost;
    let messages = messages.map_or_else(
        || "how many messages were accepted in them cannot be told".to_owned(),
        |messages| format!("{messages} messages were accepted in them"),
    );
    format!(
        "the write-ahead log {} is damaged at frame {frame} (octet {offset}): {frames} frames from there on belong to at \
         most {transactions} transactions that were committed and cannot be replayed; {messages}. Nothing was changed. \
         Keep a copy of the data directory, look after the disk, and restore a backup with `pushgrid restore`. To go on \
         without these transactions, start once with --set standalone.accept_loss={id}: the messages are then booked as \
         dropped, and the log is kept beside the new one",
        path.display()
    )
}

fn keys_refusal(subscriptions: u64, origin: KeyOrigin, id: &str) -> String {
    let found = match origin {
        KeyOrigin::Made => "there are no endpoint-keys beside the database",
        KeyOrigin::Kept => "the file endpoint-keys does not hold the keys that the database was used with",
        KeyOrigin::Configured => "endpoint.keys does not hold the keys that the database was used with",
    };
    format!(
        "{found}: all endpoints of {subscriptions} subscriptions would be answered 404, and application servers would \
         forget them. Nothing was changed. Restore the keys: the file endpoint-keys in the data directory, from a backup, \
         or endpoint.keys. To begin anew, start once with --set standalone.accept_loss={id}: all subscriptions end, \
         what waits for them is booked as unsubscribed, and user agents subscribe again when they connect"
    )
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Unreadable(Box::new(failure))
    }
}
