use async_trait::async_trait;
use pushgrid_store::{EventLog, StoreError};
use pushgrid_types::{Message, Sequence};

use crate::Embedded;
use crate::write::Append;

#[async_trait]
impl EventLog for Embedded {
    /// Appends a message to the log. Refused as unavailable, with nothing changed, while the queue is full: an
    /// application server that hears so at once can retry.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let octets = message.weight();
        self.offer(Append(message), octets).await
    }
}
