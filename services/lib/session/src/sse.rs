//! Push messages as Server-Sent Events (the media type `text/event-stream` of HTML), for user agents without a
//! WebSocket.
//!
//! | in the stream | means |
//! |---|---|
//! | `event: message` | a push message: see [`message`] |
//! | `event: receipt` | a receipt, for an application server: see [`receipt`] |
//! | `event: close` | the last event of a stream that the service ends: see [`Close`] |
//! | a comment | nothing: the connection is alive |
//!
//! An event has one line of `data`, a JSON object. A message is acknowledged by a `DELETE` of its address (RFC 8030
//! section 6.2); one that is not acknowledged comes again on the next stream, with the same `id`.

use std::fmt::Write;

use pushgrid_types::{CloseReason, Message, MessageId, Receipt};

use crate::content;

/// Comment that shows that the connection is alive.
pub const KEEP_ALIVE: &str = ":\n\n";

/// Octets of an event besides the addresses, data and headers, rounded up.
const EVENT: usize = 128;

/// Addresses in the event of a message.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'a> {
    /// Path of the subscription, for its user agent.
    pub subscription: &'a str,
    /// Path at which the user agent acknowledges the message.
    pub message: &'a str,
}

/// The event of a push message:
///
/// ```text
/// id: the message id, the same over all redeliveries
/// event: message
/// data: {"subscription":"/s/...","message":"/r/...","data":"base64url","headers":{"encoding":"aes128gcm"}}
/// ```
///
/// `data` and `headers` are those of a notification over WebSocket, with the members `encoding`, `encryption`,
/// `crypto_key` and `content_type`; a message without a body has neither.
pub fn message(message: &Message, addresses: Addresses<'_>) -> String {
    let Addresses { subscription, message: address } = addresses;
    let size = EVENT + subscription.len() + address.len() + content::size(&message.content);
    let mut text = String::with_capacity(size);
    write!(
        text,
        "id: {}\nevent: message\ndata: {{\"subscription\":\"{subscription}\",\"message\":\"{address}\"",
        message.id.to_text()
    )
    .expect("a string takes all that is written");
    content::push_members(&mut text, &message.content);
    text.push_str("}\n\n");
    text
}

/// The event of a receipt (RFC 8030 section 6.3), for the application server that has sent the message `location`:
///
/// ```text
/// id: the receipt id, the same over all redeliveries
/// event: receipt
/// data: {"message":"https://.../m/...","status":204,"outcome":"delivered","time":"2026-12-01T10:00:00.000Z","receipt":"/receipts/.../..."}
/// ```
///
/// A `DELETE` of `path` acknowledges the receipt.
pub fn receipt(id: MessageId, receipt: &Receipt, location: &str, path: &str) -> String {
    let members = crate::receipt::members(receipt, location);
    format!("id: {}\nevent: receipt\ndata: {{{members},\"receipt\":\"{path}\"}}\n\n", id.to_text())
}

/// Reason for the service to end a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Another stream reads the subscription, or the subscription has ended: a further `GET` tells.
    Superseded,
    /// The service stops here, or has lost track of the stream: connect again.
    Restart,
    /// The service cannot serve the stream just now: connect again after a while.
    Unavailable,
}

impl Close {
    /// The reason in the words of this protocol.
    pub const fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Superseded => Self::Superseded,
            CloseReason::Draining | CloseReason::Resync => Self::Restart,
            CloseReason::Client
            | CloseReason::Unidentified
            | CloseReason::Idle
            | CloseReason::Slow
            | CloseReason::Protocol
            | CloseReason::TooLarge
            | CloseReason::Unavailable
            | CloseReason::Io => Self::Unavailable,
        }
    }

    /// The last event of a stream: `reason` for programs, `message` for people.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Superseded => {
                "event: close\ndata: {\"reason\":\"superseded\",\"message\":\"another request reads this subscription now, or it has ended\"}\n\n"
            }
            Self::Restart => {
                "event: close\ndata: {\"reason\":\"restart\",\"message\":\"the server is restarting; connect again\"}\n\n"
            }
            Self::Unavailable => {
                "event: close\ndata: {\"reason\":\"unavailable\",\"message\":\"the service is not available just now; connect again after a while\"}\n\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use pushgrid_types::{
        ChannelId, Content, Incarnation, MessageId, Sequence, SubscriptionRef, Timestamp, Ttl, Urgency,
        UserAgentId,
    };
    use serde_json::{Value, json};

    use super::*;

    const ADDRESSES: Addresses<'static> = Addresses { subscription: "/s/abc", message: "/r/def" };

    fn letter(content: Content) -> Message {
        Message {
            id: MessageId::from_octets([0; 16]),
            to: SubscriptionRef {
                user_agent: UserAgentId::from_octets([1; 16]),
                channel: ChannelId::from_octets([2; 16]),
                incarnation: Incarnation::from_octets([3; 12]),
            },
            sequence: Sequence(1),
            accepted_at: Timestamp::from_secs(1),
            ttl: Ttl::from_secs(60),
            expires_at: Timestamp::from_secs(61),
            urgency: Urgency::High,
            topic: Some("topic".parse().unwrap()),
            receipt: None,
            content,
        }
    }

    /// The fields of an event, read as HTML says.
    fn read(event: &str) -> Vec<(String, String)> {
        let lines = event.strip_suffix("\n\n").expect("an event ends with an empty line").split('\n');
        lines
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a field");
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    #[test]
    fn a_message_reads_as_documented() {
        let content = Content {
            body: Bytes::from_static(b"\xfb\xff\xfe1"),
            encoding: Some("aes128gcm".into()),
            ..Content::default()
        };
        assert_eq!(
            message(&letter(content), ADDRESSES),
            "id: AAAAAAAAAAAAAAAAAAAAAA\nevent: message\ndata: {\"subscription\":\"/s/abc\",\"message\":\"/r/def\",\"data\":\"-__-MQ\",\"headers\":{\"encoding\":\"aes128gcm\"}}\n\n"
        );
        let empty = message(&letter(Content::default()), ADDRESSES);
        let data: Value = serde_json::from_str(&read(&empty)[2].1).unwrap();
        assert_eq!(data, json!({"subscription": "/s/abc", "message": "/r/def"}));
    }

    #[test]
    fn every_end_is_an_event_and_says_why() {
        for reason in CloseReason::ALL {
            let fields = read(Close::of(reason).event());
            assert_eq!(fields[0], ("event".to_owned(), "close".to_owned()));
            let data: Value = serde_json::from_str(&fields[1].1).unwrap();
            assert!(data["reason"].is_string() && data["message"].is_string(), "{data}");
        }
    }

    proptest! {
        /// Whatever a sender writes, it stays within its line.
        #[test]
        fn no_field_of_a_sender_ends_a_line(body: Vec<u8>, encoding: String, key: String, media: String) {
            let content = Content {
                body: body.clone().into(),
                encoding: Some(encoding.into()),
                crypto_key: Some(key.into()),
                content_type: Some(media.clone().into()),
                ..Content::default()
            };
            let fields = read(&message(&letter(content), ADDRESSES));
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(names, ["id", "event", "data"]);
            let data: Value = serde_json::from_str(&fields[2].1).unwrap();
            if !body.is_empty() {
                prop_assert_eq!(&data["headers"]["content_type"], &json!(media));
            }
        }
    }
}
