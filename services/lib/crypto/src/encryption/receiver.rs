//! The keys of a user agent for one subscription (RFC 8291 section 3.1).
//!
//! Invariant: the private key is a scalar of P-256, and `Debug` shows none of the keys. A [`Receiver`] belongs to
//! user agents; the service holds none.

use std::fmt;

use p256::SecretKey;
use pushgrid_types::Rng;
use pushgrid_types::limits::P256_POINT;

use crate::{curve, text};

/// Secrets of a user agent for one subscription: a P-256 key pair and a 16-octet authentication secret (RFC
/// 8291 section 3.1), shared with no other subscription.
#[derive(Clone)]
pub struct Receiver {
    secret: SecretKey,
    public: [u8; P256_POINT],
    auth: [u8; 16],
}

/// A private key that is no scalar of P-256: zero, or not below the order of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the private key of the subscription is not a scalar of P-256")]
pub struct InvalidReceiver;

impl Receiver {
    /// New keys for a new subscription.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut auth = [0; 16];
        rng.fill(&mut auth);
        Self::of(curve::random_secret(rng), auth)
    }

    /// The keys that [`Self::to_parts`] gave.
    pub fn from_parts(private: &[u8; 32], auth: &[u8; 16]) -> Result<Self, InvalidReceiver> {
        let secret = curve::secret(private).ok_or(InvalidReceiver)?;
        Ok(Self::of(secret, *auth))
    }

    /// The private key and the authentication secret, to be kept as secrets.
    pub fn to_parts(&self) -> ([u8; 32], [u8; 16]) {
        (self.secret.to_bytes().into(), self.auth)
    }

    /// The public key for the application server: `p256dh` of the W3C Push API, base64url without padding.
    pub fn p256dh(&self) -> String {
        text::encode(&self.public)
    }

    /// The authentication secret for the application server: `auth` of the W3C Push API, base64url without
    /// padding.
    pub fn auth(&self) -> String {
        text::encode(&self.auth)
    }

    fn of(secret: SecretKey, auth: [u8; 16]) -> Self {
        Self { public: curve::public_octets(&secret), secret, auth }
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub(super) fn public(&self) -> &[u8; P256_POINT] {
        &self.public
    }

    pub(super) fn auth_secret(&self) -> &[u8; 16] {
        &self.auth
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver(..)")
    }
}
