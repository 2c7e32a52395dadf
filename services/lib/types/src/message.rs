use std::fmt;

use bytes::Bytes;

use crate::limits::TTL_ZERO_GRACE;
use crate::{MessageId, Sequence, SubscriptionRef, Timestamp, Topic, TraceParent, Ttl, Urgency};

/// SHA-256 of the 65 octets of the VAPID public key that a subscription is restricted to (RFC 8292 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VapidKeyHash(pub [u8; 32]);

impl fmt::Debug for VapidKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VapidKeyHash(..)")
    }
}

/// One push message, as accepted: opaque content and everything that decides its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same over all repeats.
    pub id: MessageId,
    /// The subscription it was posted to.
    pub to: SubscriptionRef,
    /// Its position among the user agent's messages; zero until the durable write has given one.
    pub sequence: Sequence,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// How long it may wait, as granted.
    pub ttl: Ttl,
    /// The one absolute end of its life (RFC 8030 section 5.2): set at acceptance, checked at the socket.
    pub expires_at: Timestamp,
    /// How urgent it is.
    pub urgency: Urgency,
    /// What it replaces.
    pub topic: Option<Topic>,
    /// What the user agent gets.
    pub content: Content,
}

impl Message {
    /// The end of the life of a message accepted at `accepted_at`. TTL 0 means "now or never": such a message is
    /// never stored, and has [`TTL_ZERO_GRACE`] to cross the service.
    pub fn expiry(accepted_at: Timestamp, ttl: Ttl) -> Timestamp {
        accepted_at.plus(if ttl.is_zero() { TTL_ZERO_GRACE } else { ttl.duration() })
    }

    /// Whether its life has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// How much of a quota it takes, in octets.
    pub fn weight(&self) -> usize {
        self.content.body.len() + std::mem::size_of::<Self>()
    }
}

/// What the user agent gets: octets that only it can read, and what it needs to read them (RFC 8291, and the
/// `aesgcm` draft before it). Passed on as it came.
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
    /// Where its trace begins. Between the services of a grid only.
    pub trace_parent: Option<TraceParent>,
}

impl fmt::Debug for Content {
    /// Nothing of what was sent is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} octets)", self.body.len())
    }
}
