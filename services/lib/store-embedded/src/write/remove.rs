use pushgrid_types::{ChannelId, UserAgentId};
use rusqlite::params;

use super::{Transaction, Write};
use crate::failure::Failure;

const REMOVE: &str = "DELETE FROM subscription WHERE user_agent = ?1 AND channel = ?2";

/// Ends a subscription.
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
        if removed {
            transaction.subscribed((self.user_agent, self.channel), None);
        }
        Ok(removed)
    }
}
