use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::{PublicKey, VapidError};

/// Of ES256: r and s, 32 octets each (RFC 7518 section 3.4).
const SIGNATURE: usize = 64;

/// Verifies an ES256 signature. Of the two valid forms, with s and with n - s, both are taken; zero and numbers not
/// below the order are refused.
///
/// Uses `ring`, though the rest of the crate uses `p256`: verification is by far the dearest step of accepting a
/// message, and takes `ring` 43 us where `p256` needs 174.
pub(super) fn verify(key: &PublicKey, signed: &[u8], signature: &[u8]) -> Result<(), VapidError> {
    if signature.len() != SIGNATURE {
        return Err(VapidError::MalformedSignature);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_octets())
        .verify(signed, signature)
        .map_err(|ring::error::Unspecified| VapidError::WrongSignature)
}
