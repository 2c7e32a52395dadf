//! The account of promise P2 in the file. Invariant: entries are written in the transaction that they are about, and
//! published only after its commit.

use pushgrid_store::{Ledger, LedgerSnapshot};
use pushgrid_types::Outcome;
use rusqlite::{Connection, params};

use crate::failure::Failure;
use crate::row;

/// Entry of the accepted messages.
const ACCEPTED: i64 = 0;

const READ: &str = "SELECT entry, messages FROM ledger";
pub(crate) const ADD: &str = "INSERT INTO ledger (entry, messages) VALUES (?1, ?2)
    ON CONFLICT (entry) DO UPDATE SET messages = messages + ?2";

/// Entry of outcome `index`.
fn entry_of(index: usize) -> i64 {
    row::octets(index + 1)
}

/// Entries of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) accepted: u64,
    pub(crate) ended: [u64; Outcome::ALL.len()],
}

impl Entries {
    /// Adds the entries to the file, within their transaction.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), Failure> {
        let ended = (0..).map(entry_of).zip(self.ended);
        for (entry, messages) in std::iter::once((ACCEPTED, self.accepted)).chain(ended) {
            if messages > 0 {
                connection.prepare_cached(ADD)?.execute(params![entry, row::to_integer(messages)])?;
            }
        }
        Ok(())
    }

    /// Adds the entries to the account in memory, after the commit.
    pub(crate) fn publish(&self, ledger: &Ledger) {
        if self.accepted > 0 {
            ledger.accept(self.accepted);
        }
        for (outcome, messages) in Outcome::ALL.into_iter().zip(self.ended) {
            if messages > 0 {
                ledger.end(outcome, messages);
            }
        }
    }
}

/// Loads the account, and the highest sequence ever given. Pending messages are counted one by one, so that the
/// account adds up only if the file does.
pub(crate) fn load(connection: &Connection) -> Result<(LedgerSnapshot, u64), Failure> {
    let mut account = LedgerSnapshot::default();
    let mut statement = connection.prepare(READ)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (entry, messages): (i64, u64) = (row.get(0)?, row::unsigned(row, 1)?);
        if entry == ACCEPTED {
            account.accepted = messages;
        } else if let Some(index) = (0..Outcome::ALL.len()).find(|index| entry_of(*index) == entry) {
            account.ended[index] = messages;
        } else {
            return Err(Failure::corrupt("the account has an outcome that is unknown"));
        }
    }
    let (pending, highest): (i64, i64) =
        connection.query_row("SELECT COUNT(*), IFNULL(MAX(seq), 0) FROM message", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    account.pending = row::to_unsigned(pending)?;
    Ok((account, account.accepted.max(row::to_unsigned(highest)?)))
}
