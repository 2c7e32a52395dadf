//! Frames that a push service sends unasked, and the acknowledgement that answers a notification.
//!
//! Invariant: `Debug` shows neither payload nor message id. Decryption is with the subscription.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use pushgrid_types::ChannelId;

/// An event that the push service sends unasked.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A push message.
    Notification(Notification),
    /// Versions of broadcasts, by id; the member `errors` names the ids that the service does not know.
    Broadcast(BTreeMap<String, serde_json::Value>),
    /// The answer to a ping.
    Pong,
    /// The connection has ended. No event follows.
    Closed {
        /// The close code; `None` when the connection broke without a close frame.
        code: Option<u16>,
        /// The reason of the close frame.
        reason: String,
    },
}

/// One push message as it arrives, still encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The subscription that the message was sent to.
    pub channel: ChannelId,
    /// The message id: the same over all redeliveries, and echoed in the acknowledgement unchanged.
    pub version: String,
    /// The octets posted by the application server; `None` for a message without a body.
    pub data: Option<Bytes>,
    /// `Content-Encoding`: `aes128gcm` or `aesgcm`.
    pub encoding: Option<String>,
    /// `Encryption`, of `aesgcm`.
    pub encryption: Option<String>,
    /// `Crypto-Key`, of `aesgcm`.
    pub crypto_key: Option<String>,
    /// `Content-Type` of the body, unless the sender said none or `application/octet-stream`.
    pub content_type: Option<String>,
}

impl Notification {
    /// The acknowledgement of this message with `code`: see [`codes`](crate::codes).
    pub fn ack(&self, code: u16) -> Ack<'_> {
        Ack { channel: self.channel, version: &self.version, code }
    }
}

impl fmt::Debug for Notification {
    /// Hides the payload and the message id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("channel", &self.channel)
            .field("octets", &self.data.as_ref().map(Bytes::len))
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

/// One line of an `ack`.
#[derive(Clone, Copy)]
pub struct Ack<'a> {
    /// The subscription of the message.
    pub channel: ChannelId,
    /// The message id.
    pub version: &'a str,
    /// The fate of the message: see [`codes`](crate::codes).
    pub code: u16,
}

impl fmt::Debug for Ack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ack({:?}, {})", self.channel, self.code)
    }
}
