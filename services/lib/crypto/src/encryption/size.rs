use pushgrid_types::limits::{BODY_ALWAYS_ACCEPTED, P256_POINT};

pub(super) const SALT: usize = 16;
pub(super) const TAG: usize = 16;

/// Salt, record size (4 octets, big endian), length of the key id (1), and the sender's public key as the key
/// id.
pub(super) const HEADER: usize = SALT + 4 + 1 + P256_POINT;

/// The longest text that fits a body of 4096 octets, which every push service must take (RFC 8291 section 4):
/// 3993.
pub const PLAINTEXT_MAX: usize = BODY_ALWAYS_ACCEPTED - HEADER - 1 - TAG;
