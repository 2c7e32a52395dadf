use std::sync::Arc;

use pushgrid_store::Subscription;
use pushgrid_types::{Message, Outcome, Sequence, Timestamp, UserAgentId};
use rusqlite::{Connection, params};

use crate::account::Entries;
use crate::cache::Key;
use crate::failure::Failure;
use crate::row;
use crate::usage::{Change, Usages};

const DELETE: &str = "DELETE FROM message WHERE seq = ?1";
const DELETE_LOGGED: &str = "DELETE FROM message WHERE seq = ?1 AND stored = 0";

/// An open transaction, and what is to be made known once it is committed.
#[derive(Debug)]
pub(crate) struct Transaction<'c> {
    pub(super) connection: &'c Connection,
    /// As of the last commit.
    pub(super) usages: &'c Usages,
    /// The highest sequence ever given, here included.
    last: u64,
    effects: Effects,
}

/// What a committed transaction has changed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) entries: Entries,
    /// Messages that are new in the log, in the order of their sequences.
    pub(crate) accepted: Vec<Arc<Message>>,
    /// Messages that have left the log, stored or ended.
    pub(crate) left_log: Vec<Sequence>,
    pub(crate) usage: Vec<(UserAgentId, Change)>,
    pub(crate) subscriptions: Vec<(Key, Option<Subscription>)>,
}

/// A stored message, as far as ending it needs to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) sequence: i64,
    pub(super) user_agent: UserAgentId,
    pub(super) octets: u64,
}

impl<'c> Transaction<'c> {
    /// Over a connection on which a transaction has begun.
    pub(crate) fn new(connection: &'c Connection, usages: &'c Usages, last: u64) -> Self {
        Self { connection, usages, last, effects: Effects::default() }
    }

    /// Enters everything in the account of the file, and gives back what is to be made known after the commit.
    pub(crate) fn finish(self) -> Result<(Effects, u64), Failure> {
        self.effects.entries.write(self.connection)?;
        Ok((self.effects, self.last))
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The place of the next message.
    pub(super) fn next_sequence(&mut self) -> Sequence {
        self.last += 1;
        Sequence(self.last)
    }

    pub(super) fn accepted(&mut self, message: Message) {
        self.effects.entries.accepted += 1;
        self.effects.accepted.push(Arc::new(message));
    }

    /// Deletes a message of the log, and says whether it was there.
    pub(super) fn end_logged(&mut self, sequence: Sequence, outcome: Outcome) -> Result<bool, Failure> {
        let mut statement = self.connection.prepare_cached(DELETE_LOGGED)?;
        let was_there = statement.execute(params![row::to_integer(sequence.0)])? > 0;
        if was_there {
            self.effects.left_log.push(sequence);
            self.ended(outcome);
        }
        Ok(was_there)
    }

    /// Deletes a message that is in the mailbox.
    pub(super) fn end_waiting(&mut self, waiting: Waiting, outcome: Outcome) -> Result<(), Failure> {
        self.delete(waiting.sequence)?;
        self.ended(outcome);
        self.effects.usage.push((waiting.user_agent, Change::Went { octets: waiting.octets }));
        Ok(())
    }

    fn ended(&mut self, outcome: Outcome) {
        self.effects.entries.ended[outcome.index()] += 1;
    }

    /// Enters that a message came from the log into the mailbox.
    pub(super) fn came(&mut self, message: &Message, octets: u64) {
        self.effects.left_log.push(message.sequence);
        let came = Change::Came { octets, expires_at: message.expires_at };
        self.effects.usage.push((message.to.user_agent, came));
    }

    /// Enters when the first of what waits for a user agent expires.
    pub(super) fn first_expiry(&mut self, user_agent: UserAgentId, at: Timestamp) {
        self.effects.usage.push((user_agent, Change::FirstExpiry(at)));
    }

    /// Enters what a channel's subscription is from now on.
    pub(super) fn subscribed(&mut self, key: Key, present: Option<Subscription>) {
        self.effects.subscriptions.push((key, present));
    }

    fn delete(&self, sequence: i64) -> Result<(), Failure> {
        let deleted = self.connection.prepare_cached(DELETE)?.execute(params![sequence])?;
        if deleted == 1 {
            Ok(())
        } else {
            Err(Failure::corrupt("an index names a message that is not there"))
        }
    }
}
