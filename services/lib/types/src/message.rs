//! One push message inside the service: the fields that decide the way, and opaque content.
//!
//! Invariant: one absolute expiry is set at acceptance ([`Message::expiry`]) and judged everywhere by this instant,
//! never by the TTL again (promise P4).

use std::fmt;

use bytes::Bytes;

use crate::limits::TTL_ZERO_GRACE;
use crate::{
    MessageId, ReceiptRequest, ReplaceKey, Sequence, SubscriptionRef, Timestamp, TraceParent, Ttl, Urgency,
};

/// One push message, as accepted: opaque content, and all fields that decide the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Id of the message, the same over all redeliveries.
    pub id: MessageId,
    /// The subscription to which the message was posted.
    pub to: SubscriptionRef,
    /// Position among the user agent's messages; zero until the durable write assigns one.
    pub sequence: Sequence,
    /// Instant of acceptance.
    pub accepted_at: Timestamp,
    /// Time to wait for the user agent, as granted to the sender.
    pub ttl: Ttl,
    /// Absolute expiry (RFC 8030 section 5.2): set at acceptance, checked at the socket.
    pub expires_at: Timestamp,
    /// Urgency (RFC 8030 section 5.3), as sent.
    pub urgency: Urgency,
    /// Key under which the message replaces an older pending one of the subscription: a topic, or the like of another
    /// dialect; `None` replaces nothing.
    pub topic: Option<ReplaceKey>,
    /// The receipt that the sender asked for (RFC 8030 section 5.1).
    pub receipt: Option<Box<ReceiptRequest>>,
    /// Encrypted content for the user agent.
    pub content: Content,
}

impl Message {
    /// The absolute expiry of a message accepted at `accepted_at`. TTL 0 means "now or never": such a message has
    /// [`TTL_ZERO_GRACE`] to cross the service, and no later session gets it.
    pub fn expiry(accepted_at: Timestamp, ttl: Ttl) -> Timestamp {
        accepted_at.plus(if ttl.is_zero() { TTL_ZERO_GRACE } else { ttl.duration() })
    }

    /// True from the instant of the expiry on.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Share of a quota, in octets: the body and the fixed size of the fields.
    pub fn weight(&self) -> usize {
        self.content.body.len() + std::mem::size_of::<Self>()
    }
}

/// Content as the user agent gets it, octet for octet as sent: ciphertext, and the fields needed to decrypt (RFC
/// 8291, and the `aesgcm` draft before it).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The entity body, octet for octet.
    pub body: Bytes,
    /// `Content-Encoding`.
    pub encoding: Option<Box<str>>,
    /// `Encryption`, of `aesgcm`.
    pub encryption: Option<Box<str>>,
    /// `Crypto-Key`, of `aesgcm`, without any VAPID key.
    pub crypto_key: Option<Box<str>>,
    /// `Content-Type`.
    pub content_type: Option<Box<str>>,
    /// Trace begun by the sender. Passed from service to service, and to no user agent.
    pub trace_parent: Option<TraceParent>,
}

impl fmt::Debug for Content {
    /// Shows the length alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} octets)", self.body.len())
    }
}
