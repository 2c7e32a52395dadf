//! The codec of the frames that user agents send: JSON in, one [`Request`] or the reason to close out.
//!
//! Invariant: no text panics, and a request holds only ids of the right form. Order of requests and meaning of keys
//! are checked by the state machine.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pushgrid_types::{AskedBroadcast, ChannelId, DropReason, MessageId, Outcome, Urgency, UserAgentId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use smallvec::SmallVec;

use super::Close;

/// A message from a user agent. Members not named here are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first message of a connection.
    Hello {
        /// Id presented by the user agent. An empty or malformed uaid counts as none: not an error.
        user_agent: Option<UserAgentId>,
        /// Least urgency of the messages that it takes: an extension. Without the member, the least of all.
        min_urgency: Urgency,
        /// Broadcasts for which it asks.
        broadcasts: Vec<AskedBroadcast>,
    },
    /// Asks for a subscription.
    Register {
        /// The channel, named by the user agent.
        channel: ChannelId,
        /// The VAPID public key as sent, not yet verified: [`super::Protocol`] answers an invalid one.
        key: Option<Cow<'a, str>>,
    },
    /// Ends a subscription.
    Unregister {
        /// The channel to end.
        channel: ChannelId,
    },
    /// Ends all subscriptions of the user agent: an extension, `{"messageType":"unregister_all","code":200}`. The code is
    /// one of unregister, and may be left out. The service does not know the user agent any more, but the connection goes
    /// on: a register makes the first of new subscriptions, for the same uaid. Messages that were on their way may still
    /// come; they have ended, and their acknowledgement has no effect.
    UnregisterAll,
    /// Ends messages.
    Ack {
        /// The acknowledged messages. Versions in no form of a message id are left out: the service never sent them.
        updates: SmallVec<[Acknowledged; 1]>,
    },
    /// Reports that the handler of a message failed, after its acknowledgement. Only counted.
    Nack {
        /// 301 the handler threw, 302 its promise was rejected, 303 an internal fault.
        code: Option<i64>,
    },
    /// Sets the least urgency of the messages that the user agent takes: an extension.
    Urgency {
        /// One of the four words of RFC 8030 section 5.3; `None` for any other.
        min: Option<Urgency>,
    },
    /// Asks for a sign of life: the ping of the protocol.
    Ping,
    /// Asks for broadcasts.
    BroadcastSubscribe {
        /// The broadcasts.
        broadcasts: Vec<AskedBroadcast>,
    },
}

/// One acknowledged message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Id of the message: `version` on the wire.
    pub id: MessageId,
    /// 100 delivered, 101 not decrypted, 102 not delivered; `None` when left out.
    pub code: Option<i64>,
}

impl Acknowledged {
    /// Outcome of the message. Every code ends the message: a redelivery would only end in the same way.
    pub const fn outcome(self) -> Outcome {
        match self.code {
            Some(101) => Outcome::Undecryptable,
            Some(102) => Outcome::Dropped(DropReason::NotDelivered),
            Some(_) | None => Outcome::Delivered,
        }
    }
}

/// Kind of a frame, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `hello`
    Hello,
    /// `register`
    Register,
    /// `unregister`
    Unregister,
    /// `unregister_all`
    UnregisterAll,
    /// `ack`
    Ack,
    /// `nack`
    Nack,
    /// `urgency`
    Urgency,
    /// `ping`, in either of its forms.
    Ping,
    /// `broadcast_subscribe`
    BroadcastSubscribe,
    /// No message of the protocol.
    Invalid,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Hello,
        Self::Register,
        Self::Unregister,
        Self::UnregisterAll,
        Self::Ack,
        Self::Nack,
        Self::Urgency,
        Self::Ping,
        Self::BroadcastSubscribe,
        Self::Invalid,
    ];

    /// The `messageType`, as in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Register => "register",
            Self::Unregister => "unregister",
            Self::UnregisterAll => "unregister_all",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Urgency => "urgency",
            Self::Ping => "ping",
            Self::BroadcastSubscribe => "broadcast_subscribe",
            Self::Invalid => "invalid",
        }
    }
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "messageType", borrow)]
    message_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize)]
struct Hello<'a> {
    #[serde(borrow)]
    uaid: Option<Cow<'a, str>>,
    #[serde(default)]
    broadcasts: Option<Versions>,
    #[serde(borrow)]
    urgency: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct MinUrgency<'a> {
    #[serde(borrow)]
    min: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Register<'a> {
    #[serde(rename = "channelID", borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Unregister<'a> {
    #[serde(rename = "channelID", borrow)]
    channel: Cow<'a, str>,
    #[serde(rename = "code")]
    _code: Option<i64>,
}

#[derive(Deserialize)]
struct UnregisterAll {
    #[serde(rename = "code")]
    _code: Option<i64>,
}

#[derive(Deserialize)]
struct Ack<'a> {
    #[serde(borrow)]
    updates: Vec<Update<'a>>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(rename = "channelID", borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    code: Option<i64>,
}

#[derive(Deserialize)]
struct Nack<'a> {
    #[serde(rename = "version", borrow)]
    _version: Cow<'a, str>,
    code: Option<i64>,
}

#[derive(Deserialize)]
struct BroadcastSubscribe {
    broadcasts: Versions,
}

/// Versions by the id of their broadcast.
type Versions = BTreeMap<String, Version>;

/// A version that the user agent has. Anything but a text is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Version {
    Text(String),
    Other(IgnoredAny),
}

impl<'a> Request<'a> {
    /// Reads one text frame. Fails with the reason to close the connection.
    pub fn parse(text: &'a str) -> Result<Self, Close> {
        // A JSON list would pass for a structure as well, member by member.
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(Close::NotJson);
        }
        let tag: Tag<'_> = serde_json::from_str(text)
            .map_err(|error| if error.is_data() { Close::UnknownType } else { Close::NotJson })?;
        match tag.message_type.as_deref() {
            Some("hello") => hello(members(text, Close::MalformedHello)?),
            Some("register") => register(members(text, Close::MalformedRegister)?),
            Some("unregister") => unregister(&members(text, Close::MalformedUnregister)?),
            Some("unregister_all") => {
                members::<UnregisterAll>(text, Close::MalformedUnregisterAll).map(|_| Self::UnregisterAll)
            }
            Some("ack") => ack(&members(text, Close::MalformedAck)?),
            Some("nack") => {
                members::<Nack<'_>>(text, Close::MalformedNack).map(|nack| Self::Nack { code: nack.code })
            }
            Some("urgency") => {
                let asked: MinUrgency<'_> = members(text, Close::MalformedUrgency)?;
                Ok(Self::Urgency { min: asked.min.parse().ok() })
            }
            Some("ping") => Ok(Self::Ping),
            Some("broadcast_subscribe") => {
                let asked: BroadcastSubscribe = members(text, Close::MalformedBroadcastSubscribe)?;
                Ok(Self::BroadcastSubscribe { broadcasts: broadcasts(asked.broadcasts) })
            }
            Some(_) => Err(Close::UnknownType),
            None => members::<Empty>(text, Close::UnknownType).map(|_| Self::Ping),
        }
    }

    /// Kind of the message.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::Hello,
            Self::Register { .. } => Kind::Register,
            Self::Unregister { .. } => Kind::Unregister,
            Self::UnregisterAll => Kind::UnregisterAll,
            Self::Ack { .. } => Kind::Ack,
            Self::Nack { .. } => Kind::Nack,
            Self::Urgency { .. } => Kind::Urgency,
            Self::Ping => Kind::Ping,
            Self::BroadcastSubscribe { .. } => Kind::BroadcastSubscribe,
        }
    }
}

fn members<'a, T: Deserialize<'a>>(text: &'a str, otherwise: Close) -> Result<T, Close> {
    serde_json::from_str(text).map_err(|_| otherwise)
}

fn broadcasts(versions: Versions) -> Vec<AskedBroadcast> {
    let asked = versions.into_iter().map(|(id, version)| {
        let known = match version {
            Version::Text(known) => Some(known),
            Version::Other(_) => None,
        };
        AskedBroadcast { id, known }
    });
    asked.collect()
}

fn hello<'a>(hello: Hello<'_>) -> Result<Request<'a>, Close> {
    let min_urgency = hello.urgency.as_deref().map_or(Ok(Urgency::LEAST), str::parse);
    Ok(Request::Hello {
        user_agent: hello.uaid.as_deref().and_then(|uaid| uaid.parse().ok()),
        min_urgency: min_urgency.map_err(|_| Close::MalformedHello)?,
        broadcasts: hello.broadcasts.map(broadcasts).unwrap_or_default(),
    })
}

fn register(register: Register<'_>) -> Result<Request<'_>, Close> {
    Ok(Request::Register { channel: channel(&register.channel)?, key: register.key })
}

fn unregister<'a>(unregister: &Unregister<'_>) -> Result<Request<'a>, Close> {
    Ok(Request::Unregister { channel: channel(&unregister.channel)? })
}

fn ack<'a>(ack: &Ack<'_>) -> Result<Request<'a>, Close> {
    // The version alone names the message; the channel only has to look like one.
    if ack.updates.iter().any(|update| update.channel.parse::<ChannelId>().is_err()) {
        return Err(Close::MalformedAck);
    }
    let known =
        |update: &Update<'_>| update.version.parse().ok().map(|id| Acknowledged { id, code: update.code });
    Ok(Request::Ack { updates: ack.updates.iter().filter_map(known).collect() })
}

/// Parses a channel in its one accepted form: user agents compare the channelID of a reply octet by octet, so only
/// the form that is sent back may be taken.
fn channel(text: &str) -> Result<ChannelId, Close> {
    let channel: ChannelId = text.parse().map_err(|_| Close::MalformedChannel)?;
    if channel.to_string() == text { Ok(channel) } else { Err(Close::MalformedChannel) }
}

#[cfg(test)]
mod tests;
