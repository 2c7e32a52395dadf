use pushgrid_mailbox::Cause;
use pushgrid_types::{MessageId, Outcome, UserAgentId};
use rusqlite::{Statement, params};

use super::transaction::Waiting;
use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

/// More than one only when an append was repeated after a lost answer: several messages to the account, and one to
/// the user agent.
pub(crate) const BY_ID: &str = "SELECT seq, octets FROM message INDEXED BY message_by_id
    WHERE stored = 1 AND user_agent = ?1 AND id = ?2";

/// Ends messages in the mailbox.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) user_agent: UserAgentId,
    pub(crate) ended: Vec<(MessageId, Outcome)>,
}

impl Write for Settle {
    type Answer = Vec<bool>;

    /// True if all were delivered: at worst they are delivered again.
    fn is_lazy(&self) -> bool {
        self.ended.iter().all(|(_, outcome)| *outcome == Outcome::Delivered)
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Vec<bool>, Failure> {
        let mut by_id = transaction.connection.prepare_cached(BY_ID)?;
        self.ended.iter().map(|(id, outcome)| self.end(transaction, &mut by_id, *id, *outcome)).collect()
    }
}

impl Settle {
    fn end(
        &self,
        transaction: &mut Transaction<'_>,
        by_id: &mut Statement<'_>,
        id: MessageId,
        outcome: Outcome,
    ) -> Result<bool, Failure> {
        let mut found = Vec::new();
        let mut rows = by_id.query(params![self.user_agent.as_octets(), id.as_octets()])?;
        while let Some(row) = rows.next()? {
            let (sequence, octets) = (row.get(0)?, row::unsigned(row, 1)?);
            found.push(Waiting { sequence, user_agent: self.user_agent, octets });
        }
        drop(rows);
        for waiting in &found {
            transaction.end_waiting(*waiting, Cause::Reported(outcome))?;
        }
        Ok(!found.is_empty())
    }
}
