use async_trait::async_trait;
use pushgrid_store::{EventLog, StoreError};
use pushgrid_types::{Message, Sequence};

use crate::Embedded;
use crate::write::Append;

#[async_trait]
impl EventLog for Embedded {
    /// Refused as unavailable, with nothing changed, when more waits to be written than the queue has room for: an
    /// application server that is told so soon can come back.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let octets = message.weight();
        self.offer(Append(message), octets).await
    }
}
