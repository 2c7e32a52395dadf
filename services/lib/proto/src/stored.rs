//! Messages and subscriptions as octets: in headers and values of the log, in the view, and on the wire.
//!
//! Invariant: octets that an earlier release has written are read for ever; a test compares with kept octets.
//! Envelopes of changelog and log are with their adapters.

use bytes::Bytes;
use prost::Message as _;
use pushgrid_store::Subscription;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, ReceiptRequest, ReplaceKey, Restriction, Sequence,
    SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId, WebhookUrl,
};

use crate::wire::stored::v1 as wire;

/// Octets in no valid stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not protobuf, or another message.
    #[error("not in the form that was expected")]
    Form,
    /// A field is missing, or its value is not valid.
    #[error("the field {0} is missing or not valid")]
    Field(&'static str),
}

impl From<prost::DecodeError> for Invalid {
    /// Drops the decoder's own text, which tells nothing without the octets.
    fn from(_: prost::DecodeError) -> Self {
        Self::Form
    }
}

/// Encodes all of a message but body and sequence: small, for a header beside the body.
pub fn encode_head(message: &Message) -> Vec<u8> {
    head(message).encode_to_vec()
}

/// Decodes a head, and joins the sequence and the body that were kept beside. Fails with the name of the wrong field.
pub fn decode_head(octets: &[u8], sequence: Sequence, body: Bytes) -> Result<Message, Invalid> {
    // One copy, shared by all fields.
    message(wire::Head::decode(Bytes::copy_from_slice(octets))?, sequence, body)
}

/// Encodes a whole message, sequence included.
pub fn encode_message(message: &Message) -> Vec<u8> {
    to_wire(message).encode_to_vec()
}

/// Decodes a whole message. The body is a slice of `octets`, not a copy, and keeps all of them in memory.
pub fn decode_message(octets: Bytes) -> Result<Message, Invalid> {
    from_wire(wire::Message::decode(octets)?)
}

/// Encodes all of a subscription but its id.
pub fn encode_subscription(subscription: &Subscription) -> Vec<u8> {
    subscription_to_wire(subscription).encode_to_vec()
}

/// Decodes the subscription `id`.
pub fn decode_subscription(octets: &[u8], id: SubscriptionRef) -> Result<Subscription, Invalid> {
    subscription_from_wire(&wire::Subscription::decode(octets)?, id)
}

/// A message in wire form. The body is shared, not copied.
pub fn to_wire(message: &Message) -> wire::Message {
    wire::Message {
        head: Some(head(message)),
        sequence: message.sequence.0,
        body: message.content.body.clone(),
    }
}

/// The message of a wire form. The body is shared, not copied. Fails with the name of the wrong field.
pub fn from_wire(wire: wire::Message) -> Result<Message, Invalid> {
    message(wire.head.ok_or(Invalid::Field("head"))?, Sequence(wire.sequence), wire.body)
}

/// A subscription in wire form, without the id.
pub fn subscription_to_wire(subscription: &Subscription) -> wire::Subscription {
    wire::Subscription {
        restriction: subscription.restriction.to_octets().map(Bytes::from),
        created_at: subscription.seen_at.as_millis(),
        noted: subscription.is_noted,
        webhook: subscription.webhook.as_ref().map(|url| url.as_str().to_owned()),
    }
}

/// The subscription `id` of a wire form. Fails when the hash of the VAPID key has a wrong length.
pub fn subscription_from_wire(
    wire: &wire::Subscription,
    id: SubscriptionRef,
) -> Result<Subscription, Invalid> {
    let restriction = restriction(wire.restriction.as_deref())?;
    Ok(Subscription {
        id,
        restriction,
        seen_at: Timestamp::from_millis(wire.created_at),
        is_noted: wire.noted,
        webhook: wire.webhook.as_deref().map(webhook).transpose()?,
    })
}

/// The webhook of a subscription, from exactly the stored form.
fn webhook(url: &str) -> Result<WebhookUrl, Invalid> {
    WebhookUrl::new(url).ok_or(Invalid::Field("webhook"))
}

/// The restriction of a subscription, from exactly stored form.
pub fn restriction(octets: Option<&[u8]>) -> Result<Restriction, Invalid> {
    Restriction::from_octets(octets).ok_or(Invalid::Field("restriction"))
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
        receipt: message.receipt.as_ref().map(|asked| Bytes::copy_from_slice(&asked.to_octets())),
    }
}

fn message(head: wire::Head, sequence: Sequence, body: Bytes) -> Result<Message, Invalid> {
    let urgency = urgency_from_wire(head.urgency()).ok_or(Invalid::Field("urgency"))?;
    let ttl = Ttl::from_secs(head.ttl);
    if ttl.as_secs() != head.ttl {
        return Err(Invalid::Field("ttl"));
    }
    let topic = head.topic.as_deref().map(str::parse::<ReplaceKey>).transpose();
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
        receipt: head.receipt.as_deref().map(receipt).transpose()?.map(Box::new),
        content: Content {
            body,
            encoding: head.encoding.map(Into::into),
            encryption: head.encryption.map(Into::into),
            crypto_key: head.crypto_key.map(Into::into),
            content_type: head.content_type.map(Into::into),
            // A trace that cannot be read must not cost the message.
            trace_parent: head.trace_parent.and_then(|text| text.parse().ok()),
        },
    })
}

/// The receipt that was asked for, from exactly the stored form.
fn receipt(octets: &[u8]) -> Result<ReceiptRequest, Invalid> {
    ReceiptRequest::from_slice(octets).ok_or(Invalid::Field("receipt"))
}

/// Urgency in its form on the wire.
pub const fn urgency_to_wire(urgency: Urgency) -> wire::Urgency {
    match urgency {
        Urgency::VeryLow => wire::Urgency::VeryLow,
        Urgency::Low => wire::Urgency::Low,
        Urgency::Normal => wire::Urgency::Normal,
        Urgency::High => wire::Urgency::High,
    }
}

/// Urgency from its form on the wire; `None` for none.
pub const fn urgency_from_wire(urgency: wire::Urgency) -> Option<Urgency> {
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
