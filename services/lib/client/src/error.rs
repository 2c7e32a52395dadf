//! The failures of a user agent's connection, with texts that tell a person the remedy.
//!
//! Every failure but [`ClientError::Refused`] is a reason to drop the connection. Reconnecting is the caller's.

use std::io;
use std::time::Duration;

use tokio_tungstenite::tungstenite;

use crate::SendError;

/// Reason that a user agent could not do as asked. After any but [`Refused`](Self::Refused) the connection is best
/// dropped and made again.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not the address of a push service.
    #[error("not the address of a push service: give ws://host:port, or wss://host")]
    Url,
    /// The host has no address, or none of the family of the local address.
    #[error("no usable address for the host {host}: check its name")]
    Resolve {
        /// The host.
        host: String,
        /// Error of the resolver.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}: check that the push service runs and listens there")]
    Connect {
        /// Host and port.
        address: String,
        /// Error of the system for the last address tried.
        source: io::Error,
    },
    /// A server answered, but not with a WebSocket handshake.
    #[error(
        "the WebSocket handshake failed: check that this is the address for user agents, with the path /"
    )]
    Handshake(#[source] Box<tungstenite::Error>),
    /// No answer in time.
    #[error(
        "no answer to {request} within {after:?}: the push service may be overloaded; connect again later"
    )]
    Timeout {
        /// The request without an answer.
        request: &'static str,
        /// Time waited.
        after: Duration,
    },
    /// No frame came, not even a ping: the connection is probably half open.
    #[error("nothing came for {after:?}: the connection is probably dead; connect again")]
    Silent {
        /// Length of the silence.
        after: Duration,
    },
    /// The push service answered with another status than 200.
    #[error("the push service refused {request} with status {status}: {reason}")]
    Refused {
        /// The request that was refused.
        request: &'static str,
        /// The status: 400 is a fault of the request, 500 one of the service.
        status: u16,
        /// Reason given by the service, at most 200 characters.
        reason: String,
    },
    /// The connection has ended.
    #[error("the push service closed the connection ({}): connect again", Ending(*.code, .reason))]
    Closed {
        /// The close code; `None` when the connection broke without a close frame.
        code: Option<u16>,
        /// The reason of the close frame.
        reason: String,
    },
    /// The push service sent a frame outside the protocol.
    #[error("the push service sent what is not the autopush protocol: {0}")]
    Unreadable(&'static str),
    /// More events came during one request than are kept.
    #[error("more than {0} notifications came during one request: call next() between requests")]
    Overflow(usize),
    /// A request over HTTP got no answer.
    #[error("the push service gave no answer")]
    Request(#[source] SendError),
    /// A connection over HTTP failed.
    #[error("the connection failed: connect again")]
    Stream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection failed.
    #[error("the connection failed: connect again")]
    Socket(#[source] Box<tungstenite::Error>),
}

struct Ending<'a>(Option<u16>, &'a str);

impl std::fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.1) {
            (None, _) => f.write_str("without a close frame"),
            (Some(code), "") => write!(f, "code {code}"),
            (Some(code), reason) => write!(f, "code {code}, {reason:?}"),
        }
    }
}

impl ClientError {
    /// Wraps a failure of a connection over HTTP.
    pub(crate) fn stream(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Stream(error.into())
    }

    /// Wraps a failure of the socket; the two that only report the end become [`Self::Closed`].
    pub(crate) fn from_socket(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Self::Closed { code: None, reason: String::new() }
            }
            other => Self::Socket(Box::new(other)),
        }
    }
}
