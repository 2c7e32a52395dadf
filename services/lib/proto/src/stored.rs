//! Messages and subscriptions as octets: in headers and values of the log, in the view, and on the wire.

use bytes::Bytes;
use prost::Message as _;
use pushgrid_store::Subscription;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Sequence, SubscriptionRef, Timestamp, Topic, Ttl,
    Urgency, UserAgentId, VapidKeyHash,
};

use crate::wire::stored::v1 as wire;

/// Octets that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// They are not protobuf, or not of this message.
    #[error("not in the form that was expected")]
    Form,
    /// A field is missing, or holds what it cannot.
    #[error("the field {0} is missing or not valid")]
    Field(&'static str),
}

impl From<prost::DecodeError> for Invalid {
    /// What the decoder says of the octets is of no use to anybody who may not see them.
    fn from(_: prost::DecodeError) -> Self {
        Self::Form
    }
}

/// Everything of a message but its body and its sequence: small, for a header beside the body.
pub fn encode_head(message: &Message) -> Vec<u8> {
    head(message).encode_to_vec()
}

/// The message of a head and of what was kept beside it.
pub fn decode_head(octets: &[u8], sequence: Sequence, body: Bytes) -> Result<Message, Invalid> {
    // One copy, of which all fields are parts.
    message(wire::Head::decode(Bytes::copy_from_slice(octets))?, sequence, body)
}

/// The whole message, its sequence included.
pub fn encode_message(message: &Message) -> Vec<u8> {
    to_wire(message).encode_to_vec()
}

/// The message of its octets. The body is a part of them: it is not copied, and keeps them in memory.
pub fn decode_message(octets: Bytes) -> Result<Message, Invalid> {
    from_wire(wire::Message::decode(octets)?)
}

/// Everything of a subscription but its name.
pub fn encode_subscription(subscription: &Subscription) -> Vec<u8> {
    subscription_to_wire(subscription).encode_to_vec()
}

/// The subscription named `id`.
pub fn decode_subscription(octets: &[u8], id: SubscriptionRef) -> Result<Subscription, Invalid> {
    subscription_from_wire(&wire::Subscription::decode(octets)?, id)
}

/// A message as it travels. The body is shared, not copied.
pub fn to_wire(message: &Message) -> wire::Message {
    wire::Message {
        head: Some(head(message)),
        sequence: message.sequence.0,
        body: message.content.body.clone(),
    }
}

/// A message that has travelled. The body is shared, not copied.
pub fn from_wire(wire: wire::Message) -> Result<Message, Invalid> {
    message(wire.head.ok_or(Invalid::Field("head"))?, Sequence(wire.sequence), wire.body)
}

/// A subscription as it travels beside its name.
pub fn subscription_to_wire(subscription: &Subscription) -> wire::Subscription {
    wire::Subscription {
        vapid: subscription.vapid.map(|hash| Bytes::copy_from_slice(&hash.0)),
        created_at: subscription.created_at.as_millis(),
    }
}

/// A subscription that has travelled, named `id`.
pub fn subscription_from_wire(
    wire: &wire::Subscription,
    id: SubscriptionRef,
) -> Result<Subscription, Invalid> {
    let vapid = wire.vapid.as_deref().map(vapid_hash).transpose()?;
    Ok(Subscription { id, vapid, created_at: Timestamp::from_millis(wire.created_at) })
}

/// The hash of a VAPID key from its 32 octets.
pub fn vapid_hash(octets: &[u8]) -> Result<VapidKeyHash, Invalid> {
    octets.try_into().map(VapidKeyHash).map_err(|_| Invalid::Field("vapid"))
}

fn head(message: &Message) -> wire::Head {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    wire::Head {
        id: Bytes::copy_from_slice(message.id.as_octets()),
        user_agent: Bytes::copy_from_slice(message.to.user_agent.as_octets()),
        channel: Bytes::copy_from_slice(message.to.channel.as_octets()),
        incarnation: Bytes::copy_from_slice(message.to.incarnation.as_octets()),
        accepted_at: message.accepted_at.as_millis(),
        ttl: message.ttl.as_secs(),
        expires_at: message.expires_at.as_millis(),
        urgency: urgency_to_wire(message.urgency).into(),
        topic: message.topic.as_ref().map(|topic| topic.as_str().to_owned()),
        encoding: text(&message.content.encoding),
        encryption: text(&message.content.encryption),
        crypto_key: text(&message.content.crypto_key),
        content_type: text(&message.content.content_type),
        trace_parent: message.content.trace_parent.as_ref().map(|it| it.as_str().to_owned()),
    }
}

fn message(head: wire::Head, sequence: Sequence, body: Bytes) -> Result<Message, Invalid> {
    let urgency = urgency_from_wire(head.urgency()).ok_or(Invalid::Field("urgency"))?;
    let ttl = Ttl::from_secs(head.ttl);
    if ttl.as_secs() != head.ttl {
        return Err(Invalid::Field("ttl"));
    }
    let topic = head.topic.as_deref().map(str::parse::<Topic>).transpose();
    Ok(Message {
        id: MessageId::from_slice(&head.id).ok_or(Invalid::Field("id"))?,
        to: SubscriptionRef {
            user_agent: UserAgentId::from_slice(&head.user_agent).ok_or(Invalid::Field("user_agent"))?,
            channel: ChannelId::from_slice(&head.channel).ok_or(Invalid::Field("channel"))?,
            incarnation: Incarnation::from_slice(&head.incarnation).ok_or(Invalid::Field("incarnation"))?,
        },
        sequence,
        accepted_at: Timestamp::from_millis(head.accepted_at),
        ttl,
        expires_at: Timestamp::from_millis(head.expires_at),
        urgency,
        topic: topic.map_err(|_| Invalid::Field("topic"))?,
        content: Content {
            body,
            encoding: head.encoding.map(Into::into),
            encryption: head.encryption.map(Into::into),
            crypto_key: head.crypto_key.map(Into::into),
            content_type: head.content_type.map(Into::into),
            // One that cannot be read is as good as none.
            trace_parent: head.trace_parent.and_then(|text| text.parse().ok()),
        },
    })
}

const fn urgency_to_wire(urgency: Urgency) -> wire::Urgency {
    match urgency {
        Urgency::VeryLow => wire::Urgency::VeryLow,
        Urgency::Low => wire::Urgency::Low,
        Urgency::Normal => wire::Urgency::Normal,
        Urgency::High => wire::Urgency::High,
    }
}

const fn urgency_from_wire(urgency: wire::Urgency) -> Option<Urgency> {
    match urgency {
        wire::Urgency::Unspecified => None,
        wire::Urgency::VeryLow => Some(Urgency::VeryLow),
        wire::Urgency::Low => Some(Urgency::Low),
        wire::Urgency::Normal => Some(Urgency::Normal),
        wire::Urgency::High => Some(Urgency::High),
    }
}

#[cfg(test)]
mod tests;
