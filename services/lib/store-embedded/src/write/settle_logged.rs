use pushgrid_store::{End, ErrorKind};

use super::{Transaction, Work};
use crate::failure::Failure;

/// Ends messages in the log; messages no longer there are passed over. No caller waits.
#[derive(Debug)]
pub(crate) struct SettleLogged(pub(crate) Vec<End>);

impl Work for SettleLogged {
    fn is_lazy(&self) -> bool {
        true
    }

    /// A receipt is a message that is accepted, and so durable.
    fn is_durable(&self) -> bool {
        self.0.iter().any(End::has_receipt)
    }

    fn adds(&self) -> bool {
        false
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        self.0.iter().try_for_each(|end| transaction.end_logged(*end))
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
