use pushgrid_types::{Outcome, Timestamp, UserAgentId};
use rusqlite::params;

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

/// Answered from the index alone.
pub(crate) const EXPIRED: &str = "SELECT seq, octets FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1 AND expires_at <= ?2 ORDER BY seq LIMIT ?3";

/// Answered from the index alone.
pub(crate) const FIRST_EXPIRY: &str = "SELECT MIN(expires_at) FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1";

/// User agents in which one call may look for nothing, for what would have expired has ended before. More are left
/// to the next call, so that other changes do not wait for long.
const IN_VAIN: usize = 4096;

/// Ends what is expired.
#[derive(Debug)]
pub(crate) struct Expire {
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
}

impl Write for Expire {
    type Answer = usize;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<usize, Failure> {
        let mut ended = 0;
        for user_agent in transaction.usages.due(self.now, self.limit.saturating_add(IN_VAIN)) {
            if ended >= self.limit {
                break;
            }
            let expired = self.expired(transaction, user_agent, self.limit - ended)?;
            for waiting in &expired {
                transaction.end_waiting(*waiting, Outcome::Expired)?;
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
