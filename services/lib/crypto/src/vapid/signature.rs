use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::{PublicKey, VapidError};

/// Of ES256: r and s, 32 octets each (RFC 7518 section 3.4).
const SIGNATURE: usize = 64;

/// Verifies an ES256 signature. Both of the two signatures that fit, with s and with n - s, are good.
///
/// With `ring`, though the rest of the crate uses `p256`: this is by far the dearest step of accepting a
/// message, and `ring` takes 43 us for it where `p256` takes 174. It refuses r and s that are zero or not
/// below the order.
pub(super) fn verify(key: &PublicKey, signed: &[u8], signature: &[u8]) -> Result<(), VapidError> {
    if signature.len() != SIGNATURE {
        return Err(VapidError::MalformedSignature);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_octets())
        .verify(signed, signature)
        .map_err(|ring::error::Unspecified| VapidError::WrongSignature)
}
