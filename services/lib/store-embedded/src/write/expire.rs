use pushgrid_mailbox::Cause;
use pushgrid_types::{Timestamp, UserAgentId};
use rusqlite::params;

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

/// Expired from its expiry on, as [`Message::is_expired`](pushgrid_types::Message::is_expired) has it. Answered from the
/// index alone.
pub(crate) const EXPIRED: &str = "SELECT seq, octets FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1 AND expires_at <= ?2 LIMIT ?3";

/// Answered from the index alone.
pub(crate) const FIRST_EXPIRY: &str = "SELECT MIN(expires_at) FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1";

/// Largest number of user agents searched in vain by one call, where due messages have ended before. The next call
/// does the rest, so other changes do not wait for long.
const IN_VAIN: usize = 4096;

/// Ends expired messages.
#[derive(Debug)]
pub(crate) struct Expire {
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
    /// This user agent alone, instead of the due ones.
    pub(crate) only: Option<UserAgentId>,
}

impl Write for Expire {
    type Answer = usize;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<usize, Failure> {
        let mut ended = 0;
        let due = match self.only {
            Some(user_agent) => vec![user_agent],
            None => transaction.usages.due(self.now, self.limit.saturating_add(IN_VAIN)),
        };
        for user_agent in due {
            if ended >= self.limit {
                break;
            }
            let expired = self.expired(transaction, user_agent, self.limit - ended)?;
            for waiting in &expired {
                transaction.end_waiting(*waiting, Cause::Expired)?;
            }
            ended += expired.len();
            look_again(transaction, user_agent)?;
        }
        Ok(ended)
    }
}

impl Expire {
    fn expired(
        &self,
        transaction: &Transaction<'_>,
        user_agent: UserAgentId,
        limit: usize,
    ) -> Result<Vec<Waiting>, Failure> {
        let mut statement = transaction.connection.prepare_cached(EXPIRED)?;
        let now = row::to_integer(self.now.as_millis());
        let mut rows = statement.query(params![user_agent.as_octets(), now, row::octets(limit)])?;
        let mut expired = Vec::new();
        while let Some(row) = rows.next()? {
            let (sequence, octets) = (row.get(0)?, row::unsigned(row, 1)?);
            expired.push(Waiting { sequence, user_agent, octets });
        }
        Ok(expired)
    }
}

/// Finds out when the user agent is due next.
fn look_again(transaction: &mut Transaction<'_>, user_agent: UserAgentId) -> Result<(), Failure> {
    let first: Option<i64> = transaction
        .connection
        .prepare_cached(FIRST_EXPIRY)?
        .query_row(params![user_agent.as_octets()], |row| row.get(0))?;
    if let Some(millis) = first {
        let first_expiry = Timestamp::from_millis(row::to_unsigned(millis)?);
        transaction.first_expiry(user_agent, first_expiry);
    }
    Ok(())
}
