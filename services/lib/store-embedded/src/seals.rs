//! Endpoint keys, by name, with which the subscriptions of the file were sealed.
//!
//! A service with other keys would answer every endpoint with 404, and application servers would drop them.

use pushgrid_mailbox::Cause;
use rusqlite::{Connection, params};

use crate::OpenError;
use crate::account::Entries;
use crate::failure::Failure;
use crate::keys::{KeyId, KeyOrigin, Keys};
use crate::row;

/// Names of the keys. An earlier release ignores this table.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS endpoint_key (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID";

/// Checks the keys against those that sealed the subscriptions in the file, and remembers the first. If none fits,
/// and `accepted` is the id of this loss, the file begins anew: all its subscriptions end.
pub(crate) fn check(connection: &Connection, keys: &Keys, accepted: Option<&str>) -> Result<(), OpenError> {
    let sealed_with = known(connection)?;
    let subscriptions: i64 =
        connection.query_row("SELECT COUNT(*) FROM subscription", [], |row| row.get(0))?;
    let (kept, gone): (Vec<KeyId>, Vec<KeyId>) = sealed_with.iter().partition(|id| keys.ids.contains(id));
    let opens_nothing = kept.is_empty() && (!gone.is_empty() || keys.origin == KeyOrigin::Made);
    if subscriptions > 0 && opens_nothing {
        let id = loss(&sealed_with);
        if accepted != Some(id.as_str()) {
            return Err(OpenError::Keys {
                subscriptions: row::to_unsigned(subscriptions)?,
                origin: keys.origin,
                id,
            });
        }
        let messages = begin_anew(connection)?;
        tracing::error!(subscriptions, messages, "all subscriptions have ended with their keys, as asked");
    } else if subscriptions > 0 && !gone.is_empty() {
        tracing::warn!(
            keys = gone.len(),
            "endpoint keys were taken away: endpoints that were sealed with them are answered 404 from now on"
        );
    }
    remember(connection, kept, keys).map_err(OpenError::from)
}

/// Keys remembered in the file.
pub(crate) fn known(connection: &Connection) -> Result<Vec<KeyId>, rusqlite::Error> {
    if !connection.table_exists(None, "endpoint_key")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT id FROM endpoint_key ORDER BY id")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Id of the loss; accepting one loss does not accept the next.
fn loss(sealed_with: &[KeyId]) -> String {
    let first = sealed_with.first().copied().unwrap_or_default();
    format!("endpoint-keys-{:016x}", u64::from_be_bytes(first))
}

/// Remembers the keys, writing only on a change.
fn remember(connection: &Connection, mut kept: Vec<KeyId>, keys: &Keys) -> Result<(), Failure> {
    kept.extend(keys.ids.first().filter(|first| !kept.contains(first)).copied().as_slice());
    kept.sort_unstable();
    if known(connection)? == kept {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(TABLE)?;
    connection.execute("DELETE FROM endpoint_key", [])?;
    for id in kept {
        connection.execute("INSERT INTO endpoint_key (id) VALUES (?1)", params![id])?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Ends every subscription and its stored messages. Messages in the log end when they are routed.
fn begin_anew(connection: &Connection) -> Result<usize, Failure> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute("DELETE FROM subscription", [])?;
    let messages = connection.execute("DELETE FROM message WHERE stored = 1", [])?;
    let mut entries = Entries::default();
    entries.ended[Cause::Unsubscribed.outcome().index()] = messages as u64;
    entries.write(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(messages)
}
