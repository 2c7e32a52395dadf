use pushgrid_mailbox::Cause;
use pushgrid_types::{ChannelId, UserAgentId};
use rusqlite::params;

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

pub(super) const REMOVE: &str = "DELETE FROM subscription WHERE user_agent = ?1 AND channel = ?2";

/// Answered from the index alone.
pub(crate) const OF_CHANNEL: &str = "SELECT seq, octets FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1 AND channel = ?2";

/// Ends a subscription and the messages that wait for its channel.
#[derive(Debug)]
pub(crate) struct Remove {
    pub(crate) user_agent: UserAgentId,
    pub(crate) channel: ChannelId,
}

impl Write for Remove {
    type Answer = bool;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<bool, Failure> {
        let mut statement = transaction.connection.prepare_cached(REMOVE)?;
        let removed = statement.execute(params![self.user_agent.as_octets(), self.channel.as_octets()])? > 0;
        // The search reads what waits for the whole user agent, and a channel that does not exist has to cost less:
        // a user agent could ask for that as often as it likes.
        if removed {
            self.end_waiting(transaction)?;
            transaction.subscribed((self.user_agent, self.channel), None);
        }
        Ok(removed)
    }
}

impl Remove {
    fn end_waiting(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut statement = transaction.connection.prepare_cached(OF_CHANNEL)?;
        let mut rows = statement.query(params![self.user_agent.as_octets(), self.channel.as_octets()])?;
        while let Some(row) = rows.next()? {
            let (sequence, octets) = (row.get(0)?, row::unsigned(row, 1)?);
            found.push(Waiting { sequence, user_agent: self.user_agent, octets });
        }
        drop(rows);
        found.into_iter().try_for_each(|waiting| transaction.end_waiting(waiting, Cause::Unsubscribed))
    }
}
