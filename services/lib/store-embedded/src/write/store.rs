use std::sync::Arc;

use pushgrid_store::Stored;
use pushgrid_types::{Message, Outcome, Topic};
use rusqlite::{OptionalExtension, params};

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

const HELD: &str = "SELECT stored, octets FROM message WHERE seq = ?1";

/// There is at most one: the index is unique.
pub(crate) const OF_TOPIC: &str = "SELECT seq, octets FROM message INDEXED BY message_by_topic
    WHERE stored = 1 AND user_agent = ?1 AND channel = ?2 AND incarnation = ?3 AND topic = ?4";

const KEEP: &str = "UPDATE message SET stored = 1 WHERE seq = ?1";

/// Moves messages from the log to the mailbox.
#[derive(Debug)]
pub(crate) struct Store(pub(crate) Vec<Arc<Message>>);

/// Where the file has a message.
enum Held {
    InLog { octets: u64 },
    InMailbox,
    Ended,
}

impl Write for Store {
    type Answer = Vec<Stored>;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Stored>, Failure> {
        self.0.iter().map(|message| store(transaction, message)).collect()
    }
}

/// A message that has ended before is judged like any other, and nothing is changed: so a call that is repeated
/// gets the answers of the first.
fn store(transaction: &mut Transaction<'_>, message: &Message) -> Result<Stored, Failure> {
    if message.sequence.0 == 0 || message.sequence.0 > transaction.last() {
        return Err(Failure::corrupt("a message to store was never in the log"));
    }
    let held = held(transaction, message)?;
    if matches!(held, Held::InMailbox) {
        return Ok(Stored::Kept);
    }
    let sequence = row::to_integer(message.sequence.0);
    let to = message.to;
    let subscription = row::subscription(transaction.connection, to.user_agent, to.channel)?;
    if subscription.is_none_or(|subscription| subscription.id != to) {
        return end(transaction, message, Outcome::Unsubscribed);
    }
    let rival = match &message.topic {
        Some(topic) => of_topic(transaction, message, topic)?,
        None => None,
    };
    if rival.is_some_and(|rival| rival.sequence > sequence) {
        return end(transaction, message, Outcome::Replaced);
    }
    if let Held::InLog { octets } = held {
        if let Some(rival) = rival {
            transaction.end_waiting(rival, Outcome::Replaced)?;
        }
        transaction.connection.prepare_cached(KEEP)?.execute(params![sequence])?;
        transaction.came(message, octets);
    }
    Ok(Stored::Kept)
}

fn held(transaction: &Transaction<'_>, message: &Message) -> Result<Held, Failure> {
    let mut statement = transaction.connection.prepare_cached(HELD)?;
    let found: Option<(bool, i64)> = statement
        .query_row(params![row::to_integer(message.sequence.0)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match found {
        Some((true, _)) => Held::InMailbox,
        Some((false, octets)) => Held::InLog { octets: row::to_unsigned(octets)? },
        None => Held::Ended,
    })
}

fn of_topic(
    transaction: &Transaction<'_>,
    message: &Message,
    topic: &Topic,
) -> Result<Option<Waiting>, Failure> {
    let to = message.to;
    let key = params![
        to.user_agent.as_octets(),
        to.channel.as_octets(),
        to.incarnation.as_octets(),
        topic.as_str()
    ];
    let mut statement = transaction.connection.prepare_cached(OF_TOPIC)?;
    let mut rows = statement.query(key)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (sequence, octets) = (row.get(0)?, row::unsigned(row, 1)?);
    Ok(Some(Waiting { sequence, user_agent: to.user_agent, octets }))
}

fn end(transaction: &mut Transaction<'_>, message: &Message, outcome: Outcome) -> Result<Stored, Failure> {
    transaction.end_logged(message.sequence, outcome)?;
    Ok(Stored::Ended(outcome))
}
