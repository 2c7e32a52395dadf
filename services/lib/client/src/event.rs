use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use pushgrid_types::ChannelId;

/// What the push service sends unasked.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A push message.
    Notification(Notification),
    /// Versions of broadcasts; under `errors` those that the service does not know.
    Broadcast(BTreeMap<String, serde_json::Value>),
    /// The answer to a ping.
    Pong,
    /// The connection has ended. Nothing comes after it.
    Closed {
        /// The close code; `None` when the connection broke without a close frame.
        code: Option<u16>,
        /// The reason that came with it.
        reason: String,
    },
}

/// One push message as it arrives, still encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The subscription it was sent to.
    pub channel: ChannelId,
    /// The message id: the same over all repeats, to be echoed in the acknowledgement as it is.
    pub version: String,
    /// The octets that the application server posted; `None` when it posted none.
    pub data: Option<Bytes>,
    /// `Content-Encoding`: `aes128gcm` or `aesgcm`.
    pub encoding: Option<String>,
    /// `Encryption`, of `aesgcm`.
    pub encryption: Option<String>,
    /// `Crypto-Key`, of `aesgcm`.
    pub crypto_key: Option<String>,
}

impl Notification {
    /// The acknowledgement of this message with `code`: see [`codes`](crate::codes).
    pub fn ack(&self, code: u16) -> Ack<'_> {
        Ack { channel: self.channel, version: &self.version, code }
    }
}

impl fmt::Debug for Notification {
    /// Nothing of what was sent is shown, nor the message id.
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
    /// Its message id.
    pub version: &'a str,
    /// What became of it: see [`codes`](crate::codes).
    pub code: u16,
}

impl fmt::Debug for Ack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ack({:?}, {})", self.channel, self.code)
    }
}
