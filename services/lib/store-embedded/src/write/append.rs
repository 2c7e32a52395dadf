use pushgrid_types::{Message, Sequence};

use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

/// Writes a message to the log.
#[derive(Debug)]
pub(crate) struct Append(pub(crate) Message);

impl Write for Append {
    type Answer = Sequence;

    fn adds(&self) -> bool {
        true
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Sequence, Failure> {
        let sequence = transaction.next_sequence();
        let message = Message { sequence, ..self.0.clone() };
        row::insert(transaction.connection, &message)?;
        transaction.accepted(message);
        Ok(sequence)
    }
}
