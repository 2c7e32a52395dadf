//! The text of each frame for user agents.
//!
//! Written by hand into one string of the right size, for the notification is the hottest code of a connection;
//! whatever is not ours by construction goes through a JSON encoder.

use std::borrow::Cow;
use std::fmt::Write;

use pushgrid_types::{BroadcastId, BroadcastVersion, ChannelId, Message, UserAgentId};

use crate::content::{self, push_json};

/// The answer to a ping.
pub const PONG: &str = "{}";

/// Largest number of broadcasts named as errors in one frame. Deployed user agents ask for one or two.
pub const BROADCASTS_MAX: usize = 32;

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

/// The answer to hello: exactly five members, and the uaid without dashes. `broadcasts` are those whose version is new to
/// the user agent; nothing is said of broadcasts that there are not.
pub fn hello(user_agent: UserAgentId, broadcasts: &[(BroadcastId, BroadcastVersion)]) -> String {
    let mut text = format!(
        r#"{{"messageType":"hello","uaid":"{}","status":200,"use_webpush":true,"broadcasts":{{"#,
        user_agent.to_hex()
    );
    push_versions(&mut text, broadcasts);
    text.push_str("}}");
    text
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

/// The answer to an unregister of all: 200 once all subscriptions have ended, or 500 and 503 as in [`Refused::status`].
/// After these, some may have ended.
pub fn unregistered_all(status: u16) -> String {
    format!(r#"{{"messageType":"unregister_all","status":{status}}}"#)
}

/// The answer to an urgency: 200; 400 for none of the four words; or 500 and 503 as in [`Refused::status`].
pub fn urgency(status: u16) -> String {
    format!(r#"{{"messageType":"urgency","status":{status}}}"#)
}

/// Versions of broadcasts, changed or asked for. Ids under `unknown` have no version, and those under `refused` are more
/// than one connection may ask for; both are named as errors, at most [`BROADCASTS_MAX`] of them.
pub fn broadcast(
    versions: &[(BroadcastId, BroadcastVersion)],
    unknown: &[String],
    refused: &[String],
) -> String {
    let mut text = String::from(r#"{"messageType":"broadcast","broadcasts":{"#);
    push_versions(&mut text, versions);
    let unknown = unknown.iter().map(|id| (id, "Broadcast not found"));
    let errors = unknown.chain(refused.iter().map(|id| (id, "Too many broadcasts for one connection")));
    let mut separator = if versions.is_empty() { r#""errors":{"# } else { r#","errors":{"# };
    let mut end = "}}";
    for (id, error) in errors.take(BROADCASTS_MAX) {
        text.push_str(separator);
        push_json(&mut text, id);
        text.push(':');
        push_json(&mut text, error);
        (separator, end) = (",", "}}}");
    }
    text.push_str(end);
    text
}

/// Members of an object: ids and versions.
fn push_versions(text: &mut String, versions: &[(BroadcastId, BroadcastVersion)]) {
    for (index, (id, version)) in versions.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_json(text, id.as_str());
        text.push(':');
        push_json(text, version.as_str());
    }
}

/// The frame of a push message. No `data` and no `headers` for an empty body; never the TTL, topic, urgency or VAPID
/// key. `Content-Type` is in `headers` as it came, unless it is `application/octet-stream`.
pub fn notification(message: &Message) -> String {
    let mut text = String::with_capacity(NOTIFICATION_FRAME + content::size(&message.content));
    write!(
        text,
        r#"{{"messageType":"notification","channelID":"{}","version":"{}""#,
        message.to.channel,
        message.id.to_text()
    )
    .expect("a string takes all that is written");
    content::push_members(&mut text, &message.content);
    text.push('}');
    text
}

#[cfg(test)]
mod tests;
