use std::fmt;
use std::sync::Arc;

use pushgrid_crypto::MessageAddresses;
use pushgrid_types::Receipt;

/// Names of messages, for the application servers that have sent them.
#[derive(Clone)]
pub struct ReceiptForm {
    /// Seals the addresses of messages.
    pub messages: MessageAddresses,
    /// Origin of message addresses, without a slash at the end.
    pub public_url: Arc<str>,
}

impl ReceiptForm {
    /// The `Location` of the message that a receipt is of.
    pub(crate) fn location(&self, receipt: &Receipt) -> String {
        format!("{}/m/{}", self.public_url, self.messages.seal(&receipt.message))
    }
}

impl fmt::Debug for ReceiptForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptForm").finish_non_exhaustive()
    }
}
