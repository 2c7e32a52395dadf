//! Receipts (RFC 8030 section 6.3): messages to application servers, in the log of the partition that their receipt
//! subscription belongs to.
//!
//! Invariant: the end of a message is counted, committed or written only after its receipt is in the log. A crash in
//! between makes the end again, and the receipt, which then is a repeat.

use std::sync::Arc;

use futures_util::future::join_all;
use pushgrid_store::{EventLog, StoreError};
use pushgrid_types::{Clock, Message};

/// Way of receipts into the log.
#[derive(Debug, Clone)]
pub struct Receipts {
    /// The log of all partitions.
    pub log: Arc<dyn EventLog>,
    /// Dates receipts.
    pub clock: Arc<dyn Clock>,
}

impl Receipts {
    /// Appends messages. Leaves those that could not be appended, and returns the last failure.
    pub(crate) async fn append(&self, receipts: &mut Vec<Message>) -> Option<StoreError> {
        let appended = join_all(receipts.iter().map(|receipt| self.log.append(receipt.clone()))).await;
        let (mut again, mut failed) = (Vec::new(), None);
        for (receipt, appended) in std::mem::take(receipts).into_iter().zip(appended) {
            if let Err(error) = appended {
                again.push(receipt);
                failed = Some(error);
            }
        }
        *receipts = again;
        failed
    }
}
