use pushgrid_types::{Message, Sequence};

use super::{Transaction, Write};
use crate::failure::Failure;

/// Writes a message to the log.
#[derive(Debug)]
pub(crate) struct Append(pub(crate) Message);

impl Write for Append {
    type Answer = Sequence;

    fn adds(&self) -> bool {
        true
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Sequence, Failure> {
        transaction.append(self.0.clone())
    }
}
