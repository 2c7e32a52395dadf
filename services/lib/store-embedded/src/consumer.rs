//! The router's side of the log: hands messages out in order, from the ring or from the file, around damaged pages.
//! Invariant: a damaged page keeps back only the messages on the page, which stay in the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pushgrid_store::{End, ErrorKind, Flushing, LogConsumer, LogEnd, StoreError};
use pushgrid_types::{Message, Sequence};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::feed::Next;
use crate::owner::Owner;
use crate::row::{self, message_columns};
use crate::write::{Flush, SettleLogged, answer, job};

/// Messages read from the file at once, at most.
const READ: usize = 512;

/// Reads around damage in one call. A damaged leaf page takes some hundred, whatever the size of the file.
const READS: usize = 20_000;

/// Messages of the log in the order of their rows, up to the first row of any kind behind the range: a damaged page
/// may show a sequence behind the range, and `SQLite` would end there without an error.
pub(crate) const LOGGED: &str = concat!(
    "SELECT ",
    message_columns!(),
    ", stored FROM message WHERE seq > ?1 AND (stored IS NOT 1 OR seq > ?2) ORDER BY seq LIMIT ?3"
);

/// First row behind a range, found without reading the range.
pub(crate) const BEHIND: &str = "SELECT seq FROM message WHERE seq > ?1 ORDER BY seq LIMIT 1";

const ONE_LOGGED: &str =
    concat!("SELECT ", message_columns!(), " FROM message WHERE seq = ?1 AND stored = 0");

/// Sequences reached from an earlier place.
const NEAR: &str = "SELECT seq FROM message WHERE seq > ?1 ORDER BY seq LIMIT 128";

/// One message reached from an earlier place. Rows in between are not decoded.
const ONE_NEAR: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM message WHERE seq > ?1 AND +seq = ?2 AND stored = 0 ORDER BY seq LIMIT 1"
);

/// Distances before a message at which such a search begins: up to as many rows as a page has.
const BEFORE: [i64; 4] = [1, 4, 16, 64];

/// Error of a second consumer: the log has one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is being consumed already")]
pub struct ConsumerTaken;

/// The router's side of the log. Keeps the store open.
///
/// A lag is read from memory as far as the ring reaches back, and from the file beyond; so a lag costs no memory and
/// loses nothing. A message handed out and not settled is redelivered by the next consumer, in this life or another.
#[derive(Debug)]
pub struct EmbeddedConsumer {
    owner: Arc<Owner>,
    /// Sequence up to which every message has been handed out.
    cursor: Sequence,
    /// Sequence after the newest one at the attachment.
    inherited_to: Sequence,
    /// Read of the file under way. Outlives a cancelled [`LogConsumer::next`], or a busy router would begin the read
    /// again and again.
    reading: Option<Reading>,
}

/// Read of the file.
#[derive(Debug)]
struct Reading {
    /// Sequence up to which the file is read.
    until: Sequence,
    messages: JoinHandle<Result<Vec<Arc<Message>>, StoreError>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.messages.abort();
    }
}

impl EmbeddedConsumer {
    pub(crate) fn attach(owner: &Arc<Owner>) -> Result<Self, ConsumerTaken> {
        let newest = owner.shared.feed.attach().ok_or(ConsumerTaken)?;
        let inherited_to = Sequence(newest.0 + 1);
        Ok(Self { owner: Arc::clone(owner), cursor: Sequence(0), inherited_to, reading: None })
    }

    /// Starts reading the log in the file after the cursor, up to `until`.
    fn read(&self, until: Sequence, limit: usize) -> Reading {
        let (after, to) = (row::to_integer(self.cursor.0), row::to_integer(until.0));
        let limit = row::octets(limit.min(READ));
        let damage = Arc::clone(&self.owner.shared.damage);
        let readers = Arc::clone(&self.owner.shared.readers);
        let messages = tokio::spawn(async move {
            readers
                .run(move |connection| match logged(connection, after, to, limit) {
                    Err(failure) if failure.kind == ErrorKind::Corrupt => {
                        damage.note(&failure);
                        around_damage(connection, after, to, limit)
                    }
                    read => read,
                })
                .await
        });
        Reading { until, messages }
    }

    /// Finishes the read under way, or one up to `until`. Empty: no message lies before the new cursor.
    async fn read_file(&mut self, until: Sequence, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.read(until, limit),
        };
        let reading = self.reading.insert(reading);
        let read = (&mut reading.messages).await;
        let until = reading.until;
        self.reading = None;
        let messages = read.map_err(|gone| StoreError::new(ErrorKind::Closed, gone))??;
        if messages.is_empty() {
            self.cursor = until;
        }
        Ok(messages)
    }
}

/// Reads a range of the log, or fails if messages may be missing.
fn logged(connection: &Connection, after: i64, until: i64, limit: i64) -> Result<Vec<Arc<Message>>, Failure> {
    // One moment for both reads.
    let moment = connection.unchecked_transaction()?;
    let mut statement = moment.prepare_cached(LOGGED)?;
    let mut rows = statement.query(params![after, until, limit])?;
    let (mut messages, mut last, mut behind) = (Vec::new(), after, None);
    while let Some(row) = rows.next()? {
        let (message, stored): (_, i64) = (row::message(row)?, row.get("stored")?);
        let sequence = row::to_integer(message.sequence.0);
        if sequence <= last || !(0..=1).contains(&stored) {
            return Err(Failure::corrupt("the log is not in its order"));
        }
        if sequence > until {
            behind = Some(sequence);
            break;
        }
        last = sequence;
        messages.push(Arc::new(message));
    }
    drop(rows);
    if row::octets(messages.len()) < limit && behind != first_behind(&moment, until)? {
        return Err(Failure::corrupt("the log ends where it should not"));
    }
    Ok(messages)
}

fn first_behind(connection: &Connection, until: i64) -> Result<Option<i64>, Failure> {
    let mut statement = connection.prepare_cached(BEHIND)?;
    Ok(statement.query_row(params![until], |row| row.get(0)).optional()?)
}

/// Reads one message of the log, by any path to it: a damaged entry of the page misleads the search for some of the
/// others, but not a scan from an earlier row.
fn one_logged(connection: &Connection, sequence: i64) -> Result<Vec<Arc<Message>>, Failure> {
    let mut statement = connection.prepare_cached(ONE_LOGGED)?;
    let mut found = row::messages(statement.query(params![sequence])?);
    for before in BEFORE {
        match &found {
            Ok(messages) if !messages.is_empty() => break,
            Err(failure) if failure.kind != ErrorKind::Corrupt => break,
            Ok(_) | Err(_) => found = one_near(connection, sequence - before, sequence),
        }
    }
    found
}

fn one_near(connection: &Connection, after: i64, sequence: i64) -> Result<Vec<Arc<Message>>, Failure> {
    let mut near = connection.prepare_cached(NEAR)?;
    let mut rows = near.query(params![after])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? == sequence {
            let mut statement = connection.prepare_cached(ONE_NEAR)?;
            return row::messages(statement.query(params![after, sequence])?);
        }
    }
    Ok(Vec::new())
}

/// Reads the range around unreadable messages, by halving. A damaged page keeps back its own messages alone; they
/// stay in the file.
fn around_damage(
    connection: &Connection,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Arc<Message>>, Failure> {
    let mut messages = Vec::new();
    let mut ranges = vec![(after, until)];
    let mut reads = 0;
    while let Some((after, until)) = ranges.pop() {
        let room = limit - row::octets(messages.len());
        if room <= 0 {
            break;
        }
        reads += 1;
        // A range is read up to the row behind it, which may be the damaged one.
        let read = if until - after == 1 {
            one_logged(connection, until)
        } else {
            logged(connection, after, until, room)
        };
        match read {
            Ok(found) => messages.extend(found),
            Err(failure) if failure.kind != ErrorKind::Corrupt || reads > READS => return Err(failure),
            Err(_) if until - after > 1 => {
                let middle = after + (until - after) / 2;
                ranges.extend([(middle, until), (after, middle)]);
            }
            Err(_) => {}
        }
    }
    Ok(messages)
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.owner.shared.feed.detach();
    }
}

#[async_trait]
impl LogConsumer for EmbeddedConsumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let limit = limit.max(1);
        loop {
            let batch = match self.owner.shared.feed.next(self.cursor, limit) {
                Next::Messages(messages) => messages,
                Next::InFile(until) => self.read_file(until, limit).await?,
                Next::Nothing => {
                    self.owner.shared.feed.changed().await;
                    continue;
                }
                Next::Closed => return Ok(Vec::new()),
            };
            let Some(last) = batch.last() else { continue };
            self.cursor = last.sequence;
            return Ok(batch);
        }
    }

    fn read_to(&self) -> Sequence {
        self.owner.shared.feed.read_to(self.cursor)
    }

    fn inherited_to(&self) -> Sequence {
        self.inherited_to
    }

    fn end(&self) -> LogEnd {
        LogEnd::Known(self.owner.shared.feed.end())
    }

    fn settle(&self, ended: Vec<End>) {
        if !ended.is_empty() {
            // Once the store is closed they are redelivered in its next life (promise P3). Each is a message that was
            // handed out, so their number is bounded by that of the pending ones.
            drop(self.owner.shared.queue.push_anyway(Box::new(SettleLogged(ended))));
        }
    }

    /// An end that damage keeps from being written is given up, and fails only a flush that is under way by then.
    fn flush(&self) -> Flushing {
        let shared = Arc::clone(&self.owner.shared);
        let unwritten = shared.unwritten.load(Ordering::Acquire);
        Box::pin(async move {
            let (work, reply) = job(Flush);
            // Without room, too: it adds nothing, and the ends before it have been taken in the same way.
            shared.queue.push_anyway(work)?;
            answer(reply).await?;
            // A change that failed on its own is written later than this flush, or never.
            if shared.unwritten.load(Ordering::Acquire) == unwritten {
                Ok(())
            } else {
                Err(StoreError::new(ErrorKind::Unavailable, "ends of messages could not be written"))
            }
        })
    }
}
