//! Tables, their version, and the settings of each kind of connection. Invariant: a foreign or later file is refused
//! untouched.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::OpenError;

/// "pgrd": tells this file from any other `SQLite` file.
const APPLICATION_ID: i32 = 0x7067_7264;

/// Version of this program's files. Rises with every change of the tables.
const VERSION: i32 = 5;

/// `message` is log (`stored = 0`) and mailbox (`stored = 1`). Every index leaves out the log, so that an append
/// touches the last page of the table and nothing else. Each index costs a stored message about a tenth, so only
/// topics have one by channel: the messages of a channel are looked for among all messages of the user agent, in the
/// index alone. The order of a mailbox is that of urgency, then of sequence. Columns of searches stand before the body,
/// which may reach over several pages. Ids are indexed by user agent: a session settles many at once, and finds all on
/// one page. Stored messages that have a receipt to give are in an index of their own, which is empty as a rule: a look at
/// it tells whether what ends has to be asked for its receipt.
///
/// `ledger` has the account of promise P2: entry 0 is the number of accepted messages, which is also the highest
/// sequence; entry 1 + n is the number of messages ended with outcome n.
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
    receipt BLOB,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX message_of_user_agent ON message (user_agent, urgency, seq, expires_at, octets, channel)
    WHERE stored = 1;
CREATE INDEX message_by_id ON message (user_agent, id) WHERE stored = 1;
CREATE UNIQUE INDEX message_by_topic ON message (user_agent, channel, incarnation, topic)
    WHERE stored = 1 AND topic IS NOT NULL;
CREATE INDEX message_with_receipt ON message (seq) WHERE stored = 1 AND receipt IS NOT NULL;
CREATE TABLE subscription (
    user_agent BLOB NOT NULL,
    channel BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    vapid BLOB,
    created_at INTEGER NOT NULL,
    noted INTEGER NOT NULL DEFAULT 0,
    webhook TEXT,
    PRIMARY KEY (user_agent, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_with_webhook ON subscription (user_agent) WHERE webhook IS NOT NULL;
CREATE TABLE ledger (
    entry INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL
) STRICT;
";

/// Upgrade from versions 1 to 3. None noted visits of user agents, nor had urgencies in the index by user agent, and the
/// first two no channels there; version 2 had an index of all messages by channel instead of the one by topic.
const FROM_3: &str = "
ALTER TABLE subscription ADD COLUMN noted INTEGER NOT NULL DEFAULT 0;
DROP INDEX message_of_user_agent;
CREATE INDEX message_of_user_agent ON message (user_agent, urgency, seq, expires_at, octets, channel)
    WHERE stored = 1;
DROP INDEX IF EXISTS message_of_channel;
CREATE UNIQUE INDEX IF NOT EXISTS message_by_topic ON message (user_agent, channel, incarnation, topic)
    WHERE stored = 1 AND topic IS NOT NULL;
";

/// Upgrade from version 4, which had no receipts.
const FROM_4: &str = "
ALTER TABLE message ADD COLUMN receipt BLOB;
CREATE INDEX message_with_receipt ON message (seq) WHERE stored = 1 AND receipt IS NOT NULL;
ALTER TABLE subscription ADD COLUMN webhook TEXT;
CREATE INDEX subscription_with_webhook ON subscription (user_agent) WHERE webhook IS NOT NULL;
";

/// Clock of the last life, in the only row. Beside [`TABLES`], because older files of this version lack this table;
/// earlier releases ignore the table.
const CLOCK: &str = "
CREATE TABLE IF NOT EXISTS clock (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    boot TEXT NOT NULL,
    shift INTEGER NOT NULL,
    ahead INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;
";

/// Versions of broadcasts. Beside [`TABLES`] like [`CLOCK`].
const BROADCASTS: &str = "
CREATE TABLE IF NOT EXISTS broadcast (
    id TEXT PRIMARY KEY,
    version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Longest wait of a connection for another one's short lock on the file, such as that of a recovery.
const BUSY: Duration = Duration::from_secs(5);

/// Statements that a connection keeps prepared: more than this crate has.
const STATEMENTS: usize = 64;

/// Octets to which a longer write-ahead log is truncated when the log begins anew.
const LOG_OCTETS: u32 = 64 << 20;

/// Opens the only connection for writes.
pub(crate) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let connection = connect(file)?;
    check_application(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_OCTETS)?;
    connection.pragma_update(None, "cache_size", -(32 << 10))?;
    // Deleted content is overwritten, so that nothing of what has ended can be read in the file.
    connection.pragma_update(None, "secure_delete", true)?;
    // See `crate::wal`.
    connection.pragma_update(None, "cache_spill", false)?;
    create(&connection)?;
    connection.execute_batch(CLOCK)?;
    connection.execute_batch(BROADCASTS)?;
    Ok(connection)
}

/// Opens a connection for reads. Not read-only, because reads may write the index of the write-ahead log.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -(4 << 10))?;
    Ok(connection)
}

/// Opens a copy read-only.
pub(crate) fn open_copy(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    check_application(&connection)?;
    Ok(connection)
}

/// Opens the checkpointer's connection, for moving the write-ahead log into the file.
pub(crate) fn open_checkpointer(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(file)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Runs `act` on `connection`, which fails at once instead of waiting for another connection.
pub(crate) fn without_waiting<T>(
    connection: &Connection,
    act: impl FnOnce() -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    let done = act();
    connection.busy_timeout(BUSY)?;
    done
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

/// Structural faults of the file, at most `limit`; empty if sound. Reads the whole file.
pub(crate) fn faults(connection: &Connection, limit: usize) -> Result<Vec<String>, rusqlite::Error> {
    let mut faults = Vec::new();
    find_faults(connection, limit, &mut faults)?;
    Ok(faults)
}

/// Adds structural faults to `faults`, also those found before a failure.
pub(crate) fn find_faults(
    connection: &Connection,
    limit: usize,
    faults: &mut Vec<String>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({limit})"))?;
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                // A row may hold several.
                let text: String = row.get(0)?;
                let lines = text.lines().filter(|line| *line != "ok" && !line.starts_with("***"));
                faults.extend(lines.map(str::to_owned));
            }
            Ok(None) => return Ok(()),
            // Damage that keeps the check itself from its end.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                faults.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Refuses a file of another application, or of a later version, before any change.
pub(crate) fn check_application(connection: &Connection) -> Result<(), OpenError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(OpenError::Foreign);
    }
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION { Err(OpenError::Newer { found, known: VERSION }) } else { Ok(()) }
}

/// Creates the tables, or upgrades those of an earlier version: all or nothing.
fn create(connection: &Connection) -> Result<(), OpenError> {
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == VERSION {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let steps: &[&str] = match found {
        0 => &[TABLES],
        1..=3 => &[FROM_3, FROM_4],
        _ => &[FROM_4],
    };
    steps.iter().try_for_each(|step| connection.execute_batch(step))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}
