//! The reasons for closing a connection, each with a code and a text.
//!
//! Invariant: the table in the documentation of this protocol lists every code, and no reason holds anything sent.
//! Counting ends of connections is not done here.

use std::fmt;

use pushgrid_types::CloseReason;

/// Reason for closing a connection, with the code and the text for the user agent (RFC 6455 section 7.4).
///
/// Guarantee: every text is at most [`Close::REASON_MAX`] octets, names the fault and, where there is one, the
/// remedy, and shows nothing sent by the user agent or anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The server stops, or is being restarted.
    Restarting,
    /// The frames break RFC 6455.
    BadFrame,
    /// A binary frame.
    Binary,
    /// A text frame that is not UTF-8.
    NotUtf8,
    /// Text that is not one JSON object.
    NotJson,
    /// A hello with members of a wrong type.
    MalformedHello,
    /// A register with missing members, or members of a wrong type.
    MalformedRegister,
    /// An unregister with missing members, or members of a wrong type.
    MalformedUnregister,
    /// An `unregister_all` with members of a wrong type.
    MalformedUnregisterAll,
    /// An ack with missing members, or members of a wrong type.
    MalformedAck,
    /// A nack with missing members, or members of a wrong type.
    MalformedNack,
    /// An urgency with missing members, or members of a wrong type.
    MalformedUrgency,
    /// A `broadcast_subscribe` with missing members, or members of a wrong type.
    MalformedBroadcastSubscribe,
    /// A channelID that is not a lower-case UUID with dashes.
    MalformedChannel,
    /// No messageType, or an unknown one.
    UnknownType,
    /// A first message other than hello.
    HelloExpected,
    /// No message within the time for hello.
    HelloTimeout,
    /// A second hello.
    SecondHello,
    /// The user agent has another, later connection.
    Superseded,
    /// No answer to a ping of the server.
    NoPong,
    /// A message over the size limit.
    TooLarge,
    /// A fault of the server.
    Internal,
    /// The router has lost track of the messages seen by the session.
    Resync,
    /// The router or the store cannot be reached just now.
    Unavailable,
    /// Far too many pings.
    PingFlood,
}

impl Close {
    /// Longest reason, in octets: a close frame has room for 125, two of which are the code (RFC 6455 section 5.5).
    pub const REASON_MAX: usize = 123;

    /// All reasons.
    pub const ALL: [Self; 25] = [
        Self::Restarting,
        Self::BadFrame,
        Self::Binary,
        Self::NotUtf8,
        Self::NotJson,
        Self::MalformedHello,
        Self::MalformedRegister,
        Self::MalformedUnregister,
        Self::MalformedUnregisterAll,
        Self::MalformedAck,
        Self::MalformedNack,
        Self::MalformedUrgency,
        Self::MalformedBroadcastSubscribe,
        Self::MalformedChannel,
        Self::UnknownType,
        Self::HelloExpected,
        Self::HelloTimeout,
        Self::SecondHello,
        Self::Superseded,
        Self::NoPong,
        Self::TooLarge,
        Self::Internal,
        Self::Resync,
        Self::Unavailable,
        Self::PingFlood,
    ];

    /// The close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::Restarting => 1001,
            Self::BadFrame => 1002,
            Self::Binary => 1003,
            Self::NotUtf8
            | Self::NotJson
            | Self::MalformedHello
            | Self::MalformedRegister
            | Self::MalformedUnregister
            | Self::MalformedUnregisterAll
            | Self::MalformedAck
            | Self::MalformedNack
            | Self::MalformedUrgency
            | Self::MalformedBroadcastSubscribe
            | Self::MalformedChannel => 1007,
            Self::UnknownType
            | Self::HelloExpected
            | Self::HelloTimeout
            | Self::SecondHello
            | Self::Superseded
            | Self::NoPong => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Resync => 1012,
            Self::Unavailable => 1013,
            // The one code that keeps Firefox from reconnecting at once.
            Self::PingFlood => 4774,
        }
    }

    /// The text of the close frame, for a person.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Restarting => "the server is restarting; please reconnect",
            Self::BadFrame => "that was not a valid WebSocket frame (RFC 6455)",
            Self::Binary => "binary frame: send each message as JSON in a text frame",
            Self::NotUtf8 => "the text frame was not valid UTF-8",
            Self::NotJson => "not JSON: send one JSON object in each text frame",
            Self::MalformedHello => {
                "malformed hello: uaid must be a string, and urgency one of very-low, low, normal and high, or left out"
            }
            Self::MalformedRegister => {
                "malformed register: it needs channelID (string) and may have key (string)"
            }
            Self::MalformedUnregister => {
                "malformed unregister: it needs channelID (string) and may have code (number)"
            }
            Self::MalformedUnregisterAll => {
                "malformed unregister_all: it may have code (number), and needs nothing"
            }
            Self::MalformedAck => {
                "malformed ack: it needs updates, a list of {channelID: UUID, version: string, code: number or nothing}"
            }
            Self::MalformedNack => "malformed nack: it needs version (string) and may have code (number)",
            Self::MalformedUrgency => {
                "malformed urgency: it needs min, one of very-low, low, normal and high"
            }
            Self::MalformedBroadcastSubscribe => {
                "malformed broadcast_subscribe: it needs broadcasts, an object of ids and versions"
            }
            Self::MalformedChannel => "channelID must be a UUID in lower case with dashes",
            Self::UnknownType => {
                "unknown messageType; known: hello register unregister unregister_all ack nack ping broadcast_subscribe urgency"
            }
            Self::HelloExpected => "the first message must be hello",
            Self::HelloTimeout => "no hello came in time; send it right after connecting",
            Self::SecondHello => "hello was said already; open another connection to start again",
            Self::Superseded => "the same user agent has connected again; that connection goes on",
            Self::NoPong => "a ping of the server was not answered in time",
            Self::TooLarge => "the message is larger than this server takes",
            Self::Internal => "the server has failed; please reconnect later",
            Self::Resync => "the server has lost its place; please reconnect",
            Self::Unavailable => "the service is not available just now; try again later",
            Self::PingFlood => "far too many pings; stay away for a while",
        }
    }
}

impl From<Close> for CloseReason {
    /// The reason under which the metrics count such a connection.
    fn from(close: Close) -> Self {
        match close {
            Close::Restarting => Self::Draining,
            Close::Superseded => Self::Superseded,
            Close::Resync => Self::Resync,
            Close::HelloTimeout => Self::Unidentified,
            Close::NoPong => Self::Idle,
            Close::TooLarge => Self::TooLarge,
            Close::Unavailable | Close::Internal => Self::Unavailable,
            Close::BadFrame
            | Close::Binary
            | Close::NotUtf8
            | Close::NotJson
            | Close::MalformedHello
            | Close::MalformedRegister
            | Close::MalformedUnregister
            | Close::MalformedUnregisterAll
            | Close::MalformedAck
            | Close::MalformedNack
            | Close::MalformedUrgency
            | Close::MalformedBroadcastSubscribe
            | Close::MalformedChannel
            | Close::UnknownType
            | Close::HelloExpected
            | Close::SecondHello
            | Close::PingFlood => Self::Protocol,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_fits_a_close_frame_and_is_its_own() {
        let reasons: BTreeSet<_> = Close::ALL.into_iter().map(Close::reason).collect();
        assert_eq!(reasons.len(), Close::ALL.len());
        for close in Close::ALL {
            assert!((10..=Close::REASON_MAX).contains(&close.reason().len()), "{close:?}");
        }
    }

    // Holds: H-21.
    #[test]
    fn the_documented_table_lists_every_code() {
        let table = include_str!("../autopush.rs");
        for close in Close::ALL {
            assert!(table.contains(&format!("//! | {} |", close.code())), "{close:?}");
        }
    }
}
