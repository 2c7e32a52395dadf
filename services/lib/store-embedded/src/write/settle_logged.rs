use pushgrid_store::ErrorKind;
use pushgrid_types::{Outcome, Sequence};

use super::{Transaction, Work};
use crate::failure::Failure;

/// Ends messages in the log; those that are not there (any more) are passed over. Nobody waits for it.
#[derive(Debug)]
pub(crate) struct SettleLogged(pub(crate) Vec<(Sequence, Outcome)>);

impl Work for SettleLogged {
    fn is_lazy(&self) -> bool {
        true
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        for (sequence, outcome) in &self.0 {
            transaction.end_logged(*sequence, *outcome)?;
        }
        Ok(())
    }

    fn succeed(self: Box<Self>) {}

    /// Given up only when no retry helps: these messages would be pending until the next life.
    fn fail(self: Box<Self>, failure: &Failure) -> Option<Box<dyn Work>> {
        match failure.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => Some(self),
            ErrorKind::Corrupt | ErrorKind::Closed => None,
        }
    }
}
