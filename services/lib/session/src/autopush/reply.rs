//! The text of each frame for user agents.
//!
//! Written by hand into one string of the right size, for the notification is the hottest code of a connection;
//! whatever is not ours by construction goes through a JSON encoder.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_types::{ChannelId, Message, UserAgentId};

/// The answer to a ping.
pub const PONG: &str = "{}";

/// Largest number of unknown broadcasts named in one frame. Real user agents ask for one or two.
pub const BROADCASTS_MAX: usize = 32;

/// The media type of a body of which nothing is known: not handed on, for a missing one says the same.
const UNKNOWN_MEDIA: &str = "application/octet-stream";

/// Octets of a notification besides data and headers, rounded up.
const NOTIFICATION_FRAME: usize = 160;

/// Reason that a register made no subscription. Firefox takes every status but 200 alike, and the socket stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The key is no VAPID public key.
    BadKey,
    /// The user agent has reached the limit of subscriptions.
    TooManySubscriptions {
        /// The limit.
        limit: usize,
    },
    /// The service's store failed.
    Failed,
    /// The service cannot be reached just now.
    Unavailable,
}

impl Refused {
    /// The status, as in HTTP.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadKey => 400,
            Self::TooManySubscriptions { .. } => 429,
            Self::Failed => 500,
            Self::Unavailable => 503,
        }
    }

    /// Text in the place of the endpoint, the only member of the protocol with room for words.
    fn text(self) -> Cow<'static, str> {
        match self {
            Self::BadKey => "key is not a VAPID public key: send the 65 octets of an uncompressed P-256 point, as base64url".into(),
            Self::TooManySubscriptions { limit } => {
                format!("this user agent has {limit} subscriptions, which is the limit: unregister one first").into()
            }
            Self::Failed | Self::Unavailable => "".into(),
        }
    }
}

/// The answer to hello: exactly five members, and the uaid without dashes.
pub fn hello(user_agent: UserAgentId) -> String {
    format!(
        r#"{{"messageType":"hello","uaid":"{}","status":200,"use_webpush":true,"broadcasts":{{}}}}"#,
        user_agent.to_hex()
    )
}

/// The answer to a register that made a subscription.
pub fn registered(channel: ChannelId, endpoint: &str) -> String {
    register(channel, 200, endpoint)
}

/// The answer to a register that made none.
pub fn refused(channel: ChannelId, why: Refused) -> String {
    register(channel, why.status(), &why.text())
}

fn register(channel: ChannelId, status: u16, endpoint: &str) -> String {
    let mut text =
        format!(r#"{{"messageType":"register","channelID":"{channel}","status":{status},"pushEndpoint":"#);
    push_json(&mut text, endpoint);
    text.push('}');
    text
}

/// The answer to an unregister: 200, or 500 and 503 as in [`Refused::status`].
pub fn unregistered(channel: ChannelId, status: u16) -> String {
    format!(r#"{{"messageType":"unregister","channelID":"{channel}","status":{status}}}"#)
}

/// The answer to a `broadcast_subscribe`: each id as not found. Names at most [`BROADCASTS_MAX`]; `None` when none
/// was asked for.
pub fn unknown_broadcasts(ids: &[Cow<'_, str>]) -> Option<String> {
    if ids.is_empty() {
        return None;
    }
    let mut text = String::from(r#"{"messageType":"broadcast","broadcasts":{"errors":{"#);
    for (index, id) in ids.iter().take(BROADCASTS_MAX).enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_json(&mut text, id);
        text.push_str(r#":"Broadcast not found""#);
    }
    text.push_str("}}}");
    Some(text)
}

/// The frame of a push message. No `data` and no `headers` for an empty body; never the TTL, topic, urgency or VAPID
/// key. `Content-Type` is in `headers` as it came, unless it is `application/octet-stream`.
pub fn notification(message: &Message) -> String {
    let content = &message.content;
    //= RFC 8030 section 5.3
    //# The push service MUST NOT forward the Urgency header field to the user agent.
    //= RFC 8030 section 5.4
    //# The value of the Topic header field MUST NOT be forwarded to user agents.
    let headers = [
        ("encoding", &content.encoding),
        ("encryption", &content.encryption),
        ("crypto_key", &content.crypto_key),
    ];
    let values: usize =
        headers.iter().filter_map(|(_, value)| value.as_ref()).map(|value| value.len() + 16).sum();
    let media = content.content_type.as_deref().filter(|media| !media.eq_ignore_ascii_case(UNKNOWN_MEDIA));
    let values = values + media.map_or(0, |media| media.len() + 24);
    let mut text = String::with_capacity(NOTIFICATION_FRAME + content.body.len().div_ceil(3) * 4 + values);
    write!(
        text,
        r#"{{"messageType":"notification","channelID":"{}","version":"{}""#,
        message.to.channel,
        message.id.to_text()
    )
    .expect("a string takes all that is written");
    if !content.body.is_empty() {
        text.push_str(r#","data":""#);
        URL_SAFE_NO_PAD.encode_string(&content.body, &mut text);
        text.push('"');
        push_headers(&mut text, &headers, media);
    }
    text.push('}');
    text
}

fn push_headers(text: &mut String, headers: &[(&str, &Option<Box<str>>)], media: Option<&str>) {
    let mut separator = r#","headers":{"#;
    let bare = headers.iter().filter_map(|(name, value)| Some((*name, bare(value.as_deref()?))));
    for (name, value) in bare.chain(media.map(|media| ("content_type", Cow::Borrowed(media)))) {
        text.push_str(separator);
        separator = ",";
        write!(text, r#""{name}":"#).expect("a string takes all that is written");
        push_json(text, &value);
    }
    if separator == "," {
        text.push('}');
    }
}

/// Strips quotes and base64 padding from parameter values, as user agents want; leaves all else as it came.
fn bare(value: &str) -> Cow<'_, str> {
    if !value.contains(['"', '=']) {
        return Cow::Borrowed(value);
    }
    let mut bare = String::with_capacity(value.len());
    for part in value.split_inclusive([',', ';']) {
        let (part, end) = match part.strip_suffix([',', ';']) {
            Some(inner) => (inner, &part[inner.len()..]),
            None => (part, ""),
        };
        match part.split_once('=') {
            Some((name, value)) => {
                bare.push_str(name);
                bare.push('=');
                bare.push_str(value.trim().trim_matches('"').trim_end_matches('='));
            }
            None => bare.push_str(part),
        }
        bare.push_str(end);
    }
    Cow::Owned(bare)
}

fn push_json(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("a string is always JSON"));
}

#[cfg(test)]
mod tests;
