//! The public key of an application server (RFC 8292 section 3.2).
//!
//! Invariant: a [`PublicKey`] is a point of P-256, and equal keys compare equal in whatever text they were given.

use std::fmt;

use pushgrid_types::VapidKeyHash;
use pushgrid_types::limits::P256_POINT;
use sha2::{Digest, Sha256};

use super::key_file;
use crate::{curve, text};

/// The public key of an application server: an uncompressed point of P-256, known to lie on the curve (RFC
/// 8292 section 3.2). Keys compare by point, not by text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; P256_POINT]);

/// A text that should have been a VAPID public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Not base64url.
    #[error("it must be base64url")]
    NotBase64Url,
    /// Base64url of other octets: a compressed point, a wrapping such as SPKI, or a wrong length.
    #[error("it must be an uncompressed P-256 point: 65 octets that begin with 4, which are 87 characters")]
    NotUncompressed,
    /// The form is right, the numbers are not.
    #[error("it is not a point on the curve P-256")]
    NotOnCurve,
}

impl PublicKey {
    /// Parses base64url or standard base64, padded or not.
    pub fn from_text(text: &str) -> Result<Self, InvalidPublicKey> {
        // 88 characters with padding: a text far longer is not worth decoding.
        if text.len() > 2 * P256_POINT {
            return Err(InvalidPublicKey::NotUncompressed);
        }
        let octets = text::decode_leniently(text).ok_or(InvalidPublicKey::NotBase64Url)?;
        Self::from_octets(&octets)
    }

    /// Reads a key as people keep one: the text of [`Self::from_text`], in lines or not, PEM or DER (`PUBLIC KEY`).
    pub fn from_file(content: &[u8]) -> Result<Self, InvalidPublicKey> {
        let octets = key_file::public_octets(content).ok_or(InvalidPublicKey::NotBase64Url)?;
        Self::from_octets(&octets)
    }

    /// The canonical text: base64url without padding, 87 characters.
    pub fn to_text(&self) -> String {
        text::encode(&self.0)
    }

    /// The 65 octets of the uncompressed point.
    pub fn as_octets(&self) -> &[u8; P256_POINT] {
        &self.0
    }

    /// SHA-256 of the 65 octets, as a restricted subscription stores the key.
    pub fn hash(&self) -> VapidKeyHash {
        VapidKeyHash(Sha256::digest(self.0).into())
    }

    fn from_octets(octets: &[u8]) -> Result<Self, InvalidPublicKey> {
        if !curve::is_uncompressed(octets) {
            return Err(InvalidPublicKey::NotUncompressed);
        }
        curve::point(octets).ok_or(InvalidPublicKey::NotOnCurve)?;
        Ok(Self(octets.try_into().map_err(|_| InvalidPublicKey::NotUncompressed)?))
    }

    /// The public key of a private one.
    pub(super) fn of(secret: &p256::SecretKey) -> Self {
        Self(curve::public_octets(secret))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}
