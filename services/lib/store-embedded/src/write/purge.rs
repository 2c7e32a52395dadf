use pushgrid_types::{ChannelId, Outcome, UserAgentId};
use rusqlite::params;

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

pub(crate) const OF_CHANNEL: &str = "SELECT seq, octets FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1 AND channel = ?2";

/// Ends what waits for a channel.
#[derive(Debug)]
pub(crate) struct Purge {
    pub(crate) user_agent: UserAgentId,
    pub(crate) channel: ChannelId,
}

impl Write for Purge {
    type Answer = ();

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut statement = transaction.connection.prepare_cached(OF_CHANNEL)?;
        let mut rows = statement.query(params![self.user_agent.as_octets(), self.channel.as_octets()])?;
        while let Some(row) = rows.next()? {
            let (sequence, octets) = (row.get(0)?, row::unsigned(row, 1)?);
            found.push(Waiting { sequence, user_agent: self.user_agent, octets });
        }
        drop(rows);
        found.into_iter().try_for_each(|waiting| transaction.end_waiting(waiting, Outcome::Unsubscribed))
    }
}
