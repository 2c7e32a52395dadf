use std::collections::HashMap;
use std::sync::Arc;

use pushgrid_mailbox::{Cause, Change, Decision, Facts, Place, judge};
use pushgrid_store::{End, Stored};
use pushgrid_types::{Message, ReplaceKey, Sequence, SubscriptionRef};
use rusqlite::{CachedStatement, OptionalExtension, params};

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

pub(super) const HELD: &str = "SELECT stored, octets FROM message WHERE seq = ?1";

/// There is at most one: the index is unique.
pub(crate) const OF_TOPIC: &str = "SELECT seq, octets FROM message INDEXED BY message_by_topic
    WHERE stored = 1 AND topic IS NOT NULL AND user_agent = ?1 AND channel = ?2 AND incarnation = ?3 AND topic = ?4";

pub(super) const KEEP: &str = "UPDATE message SET stored = 1 WHERE seq = ?1";

/// Moves messages from the log to the mailbox.
#[derive(Debug)]
pub(crate) struct Store(pub(crate) Vec<Arc<Message>>);

/// Parts of a call that serve all of its messages.
struct Batch<'c> {
    held: CachedStatement<'c>,
    keep: CachedStatement<'c>,
    /// The subscriptions that were looked up: the call changes none.
    alive: HashMap<SubscriptionRef, bool>,
}

/// The rows of a transaction, asked about one message.
struct Rows<'t, 'c> {
    transaction: &'t Transaction<'c>,
    batch: &'t mut Batch<'c>,
    /// Octets of the body, as in the row.
    octets: u64,
}

impl Write for Store {
    type Answer = Vec<Stored>;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Stored>, Failure> {
        let connection = transaction.connection;
        let (held, keep) = (connection.prepare_cached(HELD)?, connection.prepare_cached(KEEP)?);
        let mut batch = Batch { held, keep, alive: HashMap::new() };
        self.0.iter().map(|message| store(transaction, &mut batch, message)).collect()
    }
}

fn store<'c>(
    transaction: &mut Transaction<'c>,
    batch: &mut Batch<'c>,
    message: &Message,
) -> Result<Stored, Failure> {
    if message.sequence.0 == 0 || message.sequence.0 > transaction.last() {
        return Err(Failure::corrupt("a message to store was never in the log"));
    }
    let mut rows = Rows { transaction, batch, octets: 0 };
    let Decision { answer, change } = judge(message, &mut rows)?;
    let octets = rows.octets;
    match change {
        Some(Change::Keep { replaces }) => {
            if let Some(older) = replaces {
                transaction.end_waiting(older, Cause::Replaced)?;
            }
            let sequence = row::to_integer(message.sequence.0);
            batch.keep.execute(params![sequence])?;
            transaction.came(message, octets);
        }
        Some(Change::End(outcome)) => transaction.end_logged(End::of(message, outcome))?,
        // A row is in the log or in the mailbox, and each is a message of its own.
        Some(Change::Moved | Change::EndRepeat) | None => {}
    }
    Ok(answer)
}

impl Facts for Rows<'_, '_> {
    type Stored = Waiting;
    type Error = Failure;

    fn place(&mut self, message: &Message) -> Result<Place, Failure> {
        let found: Option<(bool, i64)> = self
            .batch
            .held
            .query_row(params![row::to_integer(message.sequence.0)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((is_stored, octets)) = found else { return Ok(Place { in_log: false, in_mailbox: None }) };
        self.octets = row::to_unsigned(octets)?;
        Ok(Place { in_log: !is_stored, in_mailbox: is_stored.then_some(message.sequence) })
    }

    fn is_alive(&mut self, subscription: SubscriptionRef) -> Result<bool, Failure> {
        if let Some(is_alive) = self.batch.alive.get(&subscription) {
            return Ok(*is_alive);
        }
        let SubscriptionRef { user_agent, channel, .. } = subscription;
        let there = row::subscription(self.transaction.connection, user_agent, channel)?;
        let is_alive = there.is_some_and(|there| there.id == subscription);
        self.batch.alive.insert(subscription, is_alive);
        Ok(is_alive)
    }

    fn in_topic(
        &mut self,
        subscription: SubscriptionRef,
        topic: &ReplaceKey,
    ) -> Result<Option<(Sequence, Waiting)>, Failure> {
        let found = of_topic(self.transaction, subscription, topic)?;
        found.map(|older| Ok((Sequence(row::to_unsigned(older.sequence)?), older))).transpose()
    }
}

fn of_topic(
    transaction: &Transaction<'_>,
    to: SubscriptionRef,
    topic: &ReplaceKey,
) -> Result<Option<Waiting>, Failure> {
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
