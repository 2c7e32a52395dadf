//! The receipts of an application server as a library (RFC 8030 section 6.3).
//!
//! Reconnecting is the caller's. A receipt comes again if its acknowledgement was lost.

use std::fmt;

use http::Uri;
use pushgrid_types::ChannelId;

use crate::{ClientError, HttpAgent, Monitor, Monitored, Receipt, Transport};

/// An open request for the receipts of a receipt subscription.
pub struct Receipts {
    agent: HttpAgent,
    path: String,
    monitor: Monitor,
}

/// Event of a request for receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptEvent {
    /// A receipt, acknowledged.
    Receipt(Receipt),
    /// Nothing: the push service is there.
    Alive,
    /// The request has ended in order; another one may follow.
    Ended(String),
    /// There is no such receipt subscription (any more).
    Gone,
}

impl Receipts {
    /// Opens a request for the receipts of the receipt subscription at `url`.
    pub async fn open(url: &str, transport: Transport) -> Result<Self, ClientError> {
        let path = url.parse::<Uri>().map_err(|_| ClientError::Url)?.path().to_owned();
        let agent = HttpAgent::new(url)?;
        let monitor = agent.monitor(&path, NONE, transport, None).await?;
        Ok(Self { agent, path, monitor })
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<ReceiptEvent, ClientError> {
        Ok(match self.monitor.next().await? {
            Monitored::Receipt(receipt) => {
                if let Some(path) = &receipt.acknowledge {
                    self.agent.acknowledge(path).await?;
                }
                ReceiptEvent::Receipt(receipt)
            }
            Monitored::Message(_) | Monitored::Alive => ReceiptEvent::Alive,
            Monitored::Ended(reason) => ReceiptEvent::Ended(reason),
            Monitored::Gone => ReceiptEvent::Gone,
        })
    }

    /// Ends the receipt subscription with all that waits.
    pub async fn end(self) -> Result<(), ClientError> {
        self.agent.end(&self.path).await
    }
}

/// Channel of messages, of which there are none.
const NONE: ChannelId = ChannelId::from_octets([0; ChannelId::SIZE]);

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipts").field("agent", &self.agent).finish_non_exhaustive()
    }
}
