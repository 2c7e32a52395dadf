//! Numbers that a standard or a deployed client fixes. What an operator may choose is configuration instead.

use std::time::Duration;

/// Largest body that every push service must take (RFC 8030 section 7.2), in octets.
pub const BODY_ALWAYS_ACCEPTED: usize = 4096;

/// Longest topic (RFC 8030 section 5.4), in characters.
pub const TOPIC_MAX: usize = 32;

/// Longest replace key of another dialect, with its namespace, in octets.
pub const REPLACE_KEY_MAX: usize = 128;

/// Longest namespace of a replace key, in characters.
pub const REPLACE_NAMESPACE_MAX: usize = 8;

/// Value of a TTL too large to represent (RFC 8030 section 5.2), in seconds.
pub const TTL_OVERFLOW_SECONDS: u32 = 1 << 31;

/// Longest time of a message with TTL 0 from acceptance to the socket. The standard says "immediately".
pub const TTL_ZERO_GRACE: Duration = Duration::from_secs(5);

/// An uncompressed point of P-256: VAPID keys and the keys of message encryption, in octets.
pub const P256_POINT: usize = 65;

/// The window in which Firefox recognises a repeated message, in messages for each subscription.
pub const FIREFOX_RECENT_MESSAGES: usize = 100;
