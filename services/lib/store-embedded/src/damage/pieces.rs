//! Check of the file in pieces, each a read of its own: between them the write-ahead log can begin anew, however
//! large the file is. Finds unreadable pages; inconsistencies between pages only a check of the whole finds.

use std::time::{Duration, Instant};

use pushgrid_store::ErrorKind;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params};

use crate::failure::Failure;
use crate::row::{self, message_columns};

/// Entries of a piece.
const ENTRIES: i64 = 1000;

/// Least pause between two pieces. A pause lasts as long as the piece before, so half of the disk is left to others.
const PAUSE: Duration = Duration::from_millis(1);

const MESSAGES: &str =
    concat!("SELECT ", message_columns!(), " FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2");

const NEWEST: &str = "SELECT IFNULL(MAX(seq), 0) FROM message";

/// Everything but messages, each in the order of the first two columns.
const TREES: [(&str, &str); 4] = [
    (
        "the index of messages by user agent",
        "SELECT user_agent, urgency, COUNT(*) FROM message INDEXED BY message_of_user_agent
            WHERE stored = 1 AND (user_agent, urgency) > (?1, ?2)
            GROUP BY user_agent, urgency ORDER BY user_agent, urgency LIMIT ?3",
    ),
    (
        "the index of messages by id",
        "SELECT user_agent, id, COUNT(*) FROM message INDEXED BY message_by_id
            WHERE stored = 1 AND (user_agent, id) > (?1, ?2)
            GROUP BY user_agent, id ORDER BY user_agent, id LIMIT ?3",
    ),
    (
        "the index of messages by topic",
        "SELECT user_agent, channel, COUNT(*) FROM message INDEXED BY message_by_topic
            WHERE stored = 1 AND topic IS NOT NULL AND (user_agent, channel) > (?1, ?2)
            GROUP BY user_agent, channel ORDER BY user_agent, channel LIMIT ?3",
    ),
    (
        "the table of subscriptions",
        "SELECT user_agent, channel, incarnation, vapid, created_at FROM subscription
            WHERE (user_agent, channel) > (?1, ?2) ORDER BY user_agent, channel LIMIT ?3",
    ),
];

/// Reads everything in pieces, and passes each found fault to `tell`, at most `limit`. Returns the number of faults;
/// `None` once `goes_on` says no.
pub(super) fn find_faults(
    connection: &Connection,
    limit: usize,
    goes_on: &dyn Fn() -> bool,
    tell: &dyn Fn(String),
) -> Result<Option<usize>, Failure> {
    let mut faults = 0;
    let mut last = 0;
    while faults < limit {
        if !goes_on() {
            return Ok(None);
        }
        match paced(|| messages(connection, last)) {
            Ok(Some(next)) => last = next,
            Ok(None) => break,
            Err((read, failure)) if failure.kind == ErrorKind::Corrupt => {
                faults += 1;
                tell(format!("messages behind number {read} cannot be read: {failure}"));
                last = read.saturating_add(ENTRIES);
                let newest = connection.query_row(NEWEST, [], |row| row.get::<_, i64>(0));
                if newest.is_ok_and(|newest| last < newest) {
                    continue;
                }
                break;
            }
            Err((_, failure)) => return Err(failure),
        }
    }
    for (name, sql) in TREES {
        let mut key = Some(Key::default());
        while let Some(last) = key.take().filter(|_| faults < limit) {
            if !goes_on() {
                return Ok(None);
            }
            match paced(|| entries(connection, sql, last)) {
                Ok(next) => key = next,
                Err(failure) if failure.kind == ErrorKind::Corrupt => {
                    faults += 1;
                    tell(format!("{name} cannot be read to its end: {failure}"));
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(Some(faults))
}

fn paced<T>(read: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let found = read();
    std::thread::sleep(began.elapsed().max(PAUSE));
    found
}

/// Reads a piece of the messages behind `after`, and returns where the next begins. A failure comes with the last
/// sequence read.
fn messages(connection: &Connection, after: i64) -> Result<Option<i64>, (i64, Failure)> {
    let mut last = after;
    let mut read = || {
        let mut statement = connection.prepare_cached(MESSAGES)?;
        let mut rows = statement.query(params![after, ENTRIES])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let sequence = row::to_integer(row::message(row)?.sequence.0);
            if sequence <= last {
                return Err(Failure::corrupt("they are not in their order"));
            }
            last = sequence;
            count += 1;
        }
        Ok(count == ENTRIES)
    };
    match read() {
        Ok(more) => Ok(more.then_some(last)),
        Err(failure) => Err((last, failure)),
    }
}

/// First two columns of an entry.
struct Key {
    values: [Value; 2],
    /// The values as octets, for comparison.
    order: [Vec<u8>; 2],
}

impl Default for Key {
    fn default() -> Self {
        Self { values: [const { Value::Blob(Vec::new()) }; 2], order: [const { Vec::new() }; 2] }
    }
}

impl Key {
    fn of(row: &Row<'_>) -> Result<Self, Failure> {
        let mut key = Self::default();
        for column in 0..2 {
            (key.order[column], key.values[column]) = match row.get_ref(column)? {
                ValueRef::Blob(octets) => (octets.to_vec(), Value::Blob(octets.to_vec())),
                ValueRef::Integer(number) if number >= 0 => {
                    (number.to_be_bytes().to_vec(), Value::Integer(number))
                }
                _ => return Err(Failure::corrupt("a key of the wrong type")),
            };
        }
        Ok(key)
    }
}

/// Reads a piece of the entries behind `last`, and returns the key at its end if there are more.
fn entries(connection: &Connection, sql: &str, mut last: Key) -> Result<Option<Key>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![last.values[0], last.values[1], ENTRIES])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let key = Key::of(row)?;
        if key.order <= last.order {
            return Err(Failure::corrupt("it is not in its order"));
        }
        last = key;
        count += 1;
    }
    Ok((count == ENTRIES).then_some(last))
}
