//! The unread rest of the body of an HTTP/1.1 request, and its disposal within bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use tokio::time::timeout;

use super::incoming::Incoming;

/// Largest rest of a body that is discarded to keep the connection, in octets. More than the largest message, so that
/// a sender of a refused message can send the next on the same connection.
const REST_MAX: u64 = 64 * 1024;

/// Time to discard a rest. The octets are on their way already, unless the client is slow, and then has to connect
/// again.
const REST_TIME: Duration = Duration::from_secs(2);

/// The unread rest of a body.
pub(super) struct Rest {
    pub(super) body: Incoming,
    /// True while the client waits for 100 (Continue) before it sends.
    pub(super) asks_first: bool,
}

impl Rest {
    /// Reads and discards the rest. True when the end was reached; false for a rest that the client would have
    /// to be asked for, that is too large, or that comes too slowly.
    pub(super) async fn discard(mut self) -> bool {
        if self.asks_first || self.body.size_hint().lower() > REST_MAX {
            return false;
        }
        let discard = async {
            let mut left = REST_MAX;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(length as u64)?;
            }
            Some(())
        };
        matches!(timeout(REST_TIME, discard).await, Ok(Some(())))
    }
}
