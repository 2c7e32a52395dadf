use super::{Transaction, Write};
use crate::failure::Failure;

/// A permanent row is written unchanged, so the commit has something to bring to the disk.
pub(super) const TOUCH: &str = "INSERT INTO ledger (entry, messages) VALUES (0, 0)
    ON CONFLICT (entry) DO UPDATE SET messages = messages";

/// Brings all earlier changes to the disk.
#[derive(Debug)]
pub(crate) struct Flush;

impl Write for Flush {
    type Answer = ();

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        transaction.connection.prepare_cached(TOUCH)?.execute([])?;
        Ok(())
    }
}
