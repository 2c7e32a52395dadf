use std::sync::Arc;

use pushgrid_mailbox::Cause;
use pushgrid_store::{End, Subscription};
use pushgrid_types::{BroadcastId, BroadcastVersion, Message, Outcome, Sequence, Timestamp, UserAgentId};
use rusqlite::{Connection, params};

use crate::account::Entries;
use crate::cache::Key;
use crate::failure::Failure;
use crate::row;
use crate::shown::BroadcastChange;
use crate::usage::{Change, Usages};

pub(super) const DELETE: &str = "DELETE FROM message WHERE seq = ?1";
/// The same for a subscriber of ends, or where a receipt may be due: returns the other columns of an [`End`].
pub(super) const DELETE_TELLING: &str =
    "DELETE FROM message WHERE seq = ?1 RETURNING user_agent, channel, incarnation, id, receipt";
/// One message of the mailbox that has a receipt to give, if there is any.
pub(super) const ANY_RECEIPT: &str = "SELECT seq FROM message INDEXED BY message_with_receipt
    WHERE stored = 1 AND receipt IS NOT NULL AND seq > 0 LIMIT 1";
pub(super) const DELETE_LOGGED: &str = "DELETE FROM message WHERE seq = ?1 AND stored = 0";

/// An open transaction, with the effects to publish after the commit.
#[derive(Debug)]
pub(crate) struct Transaction<'c> {
    pub(super) connection: &'c Connection,
    /// As of the last commit.
    pub(super) usages: &'c Usages,
    /// The highest sequence ever given, here included.
    last: u64,
    /// True with a subscriber of ends.
    tells: bool,
    /// Time of the ends: for receipts.
    now: Timestamp,
    /// True if a stored message that ends may have a receipt to give.
    receipts: bool,
    effects: Effects,
}

/// Effects of a committed transaction.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) entries: Entries,
    /// The same ends one by one, for a subscriber.
    pub(crate) ends: Vec<End>,
    /// New messages of the log, by sequence.
    pub(crate) accepted: Vec<Arc<Message>>,
    /// Messages that have left the log, stored or ended.
    pub(crate) left_log: Vec<Sequence>,
    pub(crate) usage: Vec<(UserAgentId, Change)>,
    pub(crate) subscriptions: Vec<(Key, Option<Subscription>)>,
    pub(crate) broadcasts: Vec<BroadcastChange>,
}

/// Part of a stored message that an end needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) sequence: i64,
    pub(super) user_agent: UserAgentId,
    pub(super) octets: u64,
}

impl<'c> Transaction<'c> {
    /// Wraps a connection on which a transaction has begun.
    pub(crate) fn new(
        connection: &'c Connection,
        usages: &'c Usages,
        last: u64,
        tells: bool,
        now: Timestamp,
        receipts: bool,
    ) -> Self {
        Self { connection, usages, last, tells, now, receipts, effects: Effects::default() }
    }

    /// Enters the account in the file. Returns the effects to publish after the commit, and the highest sequence.
    pub(crate) fn finish(self) -> Result<(Effects, u64), Failure> {
        self.effects.entries.write(self.connection)?;
        Ok((self.effects, self.last))
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The place of the next message.
    fn next_sequence(&mut self) -> Sequence {
        self.last += 1;
        Sequence(self.last)
    }

    fn accepted(&mut self, message: Message) {
        self.effects.entries.accepted += 1;
        self.effects.accepted.push(Arc::new(message));
    }

    /// Deletes a message of the log, if still there.
    pub(super) fn end_logged(&mut self, end: End) -> Result<(), Failure> {
        let mut statement = self.connection.prepare_cached(DELETE_LOGGED)?;
        let was_there = statement.execute(params![row::to_integer(end.sequence.0)])? > 0;
        if was_there {
            self.effects.left_log.push(end.sequence);
            self.ended(end.outcome);
            self.tell(end)?;
        }
        Ok(())
    }

    /// Gathers an end for the subscriber, and puts the receipt that is due into the log: with the end, or not at all.
    fn tell(&mut self, end: End) -> Result<(), Failure> {
        if let Some(receipt) = end.receipt(self.now) {
            self.append(receipt)?;
        }
        if self.tells {
            self.effects.ends.push(end);
        }
        Ok(())
    }

    /// Writes a message to the log, at the next place.
    pub(super) fn append(&mut self, message: Message) -> Result<Sequence, Failure> {
        let sequence = self.next_sequence();
        let message = Message { sequence, ..message };
        row::insert(self.connection, &message)?;
        self.accepted(message);
        Ok(sequence)
    }

    /// Deletes a message of the mailbox.
    pub(super) fn end_waiting(&mut self, waiting: Waiting, cause: Cause) -> Result<(), Failure> {
        let outcome = cause.outcome();
        if self.tells || self.receipts {
            let end = self.delete_telling(waiting.sequence, outcome)?;
            self.tell(end)?;
        } else {
            self.delete(waiting.sequence)?;
        }
        self.ended(outcome);
        self.effects.usage.push((waiting.user_agent, Change::Went { octets: waiting.octets }));
        Ok(())
    }

    fn ended(&mut self, outcome: Outcome) {
        self.effects.entries.ended[outcome.index()] += 1;
    }

    /// Enters the move of a message from the log into the mailbox.
    pub(super) fn came(&mut self, message: &Message, octets: u64) {
        self.receipts |= message.receipt.is_some();
        self.effects.left_log.push(message.sequence);
        let came = Change::Came { octets, expires_at: message.expires_at };
        self.effects.usage.push((message.to.user_agent, came));
    }

    /// Enters the earliest expiry of a user agent's stored messages.
    pub(super) fn first_expiry(&mut self, user_agent: UserAgentId, at: Timestamp) {
        self.effects.usage.push((user_agent, Change::FirstExpiry(at)));
    }

    /// Enters the new subscription of a channel; `None` for its end.
    pub(super) fn subscribed(&mut self, key: Key, present: Option<Subscription>) {
        self.effects.subscriptions.push((key, present));
    }

    /// Enters the new version of a broadcast; `None` for its removal.
    pub(super) fn broadcast(&mut self, id: BroadcastId, version: Option<BroadcastVersion>) {
        self.effects.broadcasts.push((id, version));
    }

    fn delete(&self, sequence: i64) -> Result<(), Failure> {
        let deleted = self.connection.prepare_cached(DELETE)?.execute(params![sequence])?;
        if deleted == 1 { Ok(()) } else { Err(not_there()) }
    }

    fn delete_telling(&self, sequence: i64, outcome: Outcome) -> Result<End, Failure> {
        let mut statement = self.connection.prepare_cached(DELETE_TELLING)?;
        let mut rows = statement.query(params![sequence])?;
        let row = rows.next()?.ok_or_else(not_there)?;
        let (to, id) = (row::recipient(row, 0)?, row::message_id(row, 3)?);
        let sequence = Sequence(row::to_unsigned(sequence)?);
        let receipt = row::receipt(row, 4)?;
        Ok(End { user_agent: to.user_agent, id, sequence, to: Some(to), outcome, receipt })
    }
}

/// True if a stored message that ends may have a receipt to give.
pub(crate) fn any_receipt(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.prepare_cached(ANY_RECEIPT)?.exists([])
}

fn not_there() -> Failure {
    Failure::corrupt("an index names a message that is not there")
}
