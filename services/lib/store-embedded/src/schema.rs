//! The tables, their version, and how connections are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::OpenError;

/// "pgrd": tells this file from any other `SQLite` file.
const APPLICATION_ID: i32 = 0x7067_7264;

/// The version that this program writes. It rises with every change of the tables.
const VERSION: i32 = 1;

/// `message` is log (`stored = 0`) and mailbox (`stored = 1`). Every index leaves out the log, so that an append
/// touches the last page of the table and nothing else. What is searched for stands before the body, which may
/// reach over several pages. Ids are indexed within their user agent: a session settles many at once, and finds
/// them on one page.
///
/// `ledger` has the account of promise P2: entry 0 is how many messages were accepted, which is also the highest
/// sequence; entry 1 + n is how many ended with outcome n.
const TABLES: &str = "
CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    stored INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    user_agent BLOB NOT NULL,
    channel BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    id BLOB NOT NULL,
    accepted_at INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    urgency INTEGER NOT NULL,
    topic TEXT,
    encoding TEXT,
    encryption TEXT,
    crypto_key TEXT,
    content_type TEXT,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX message_of_user_agent ON message (user_agent, seq, expires_at, octets) WHERE stored = 1;
CREATE INDEX message_by_id ON message (user_agent, id) WHERE stored = 1;
CREATE UNIQUE INDEX message_by_topic ON message (user_agent, channel, incarnation, topic)
    WHERE stored = 1 AND topic IS NOT NULL;
CREATE TABLE subscription (
    user_agent BLOB NOT NULL,
    channel BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    vapid BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_agent, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (
    entry INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL
) STRICT;
";

/// How long a connection waits for another one's short lock on the file, such as that of a recovery.
const BUSY: Duration = Duration::from_secs(5);

/// Statements that a connection keeps prepared: more than this crate has.
const STATEMENTS: usize = 64;

/// What the write-ahead log is cut down to once it has grown beyond it, in octets.
const LOG_OCTETS: u32 = 64 << 20;

/// The connection that writes.
pub(crate) fn open_writer(file: &Path, file_octets: Option<u64>) -> Result<Connection, OpenError> {
    let connection = connect(file)?;
    check_application(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_OCTETS)?;
    connection.pragma_update(None, "cache_size", -(32 << 10))?;
    create(&connection)?;
    if let Some(octets) = file_octets {
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(octets).unwrap_or(i64::MAX) / page;
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// A connection that reads. It may write the index of the write-ahead log, so it is not opened read-only.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -(4 << 10))?;
    Ok(connection)
}

/// A connection that moves the write-ahead log into the file.
pub(crate) fn open_checkpointer(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(file)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    // Each connection is used by one thread at a time, so SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Refuses a file that is somebody else's, or of a later version, before anything in it is touched.
fn check_application(connection: &Connection) -> Result<(), OpenError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(OpenError::Foreign);
    }
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION { Err(OpenError::Newer { found, known: VERSION }) } else { Ok(()) }
}

/// Makes the tables, all of them or none.
fn create(connection: &Connection) -> Result<(), OpenError> {
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == VERSION {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}
