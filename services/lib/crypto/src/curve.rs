//! P-256: scalars from a given generator, and points in the one form that Web Push speaks.

use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use pushgrid_types::Rng;
use pushgrid_types::limits::P256_POINT;

/// A scalar, in octets.
pub(crate) const SCALAR_SIZE: usize = 32;

/// First octet of an uncompressed point (SEC 1 section 2.3.3).
pub(crate) const UNCOMPRESSED: u8 = 0x04;

/// Draws before giving up. One draw in 2^32 is no scalar, so a second is next to never needed.
const MAX_DRAWS: usize = 16;

/// A scalar from 1 to n - 1, every one as likely (FIPS 186-5 appendix A.2.2).
pub(crate) fn random_secret(rng: &dyn Rng) -> SecretKey {
    (0..MAX_DRAWS)
        .find_map(|_| {
            let mut octets = [0; SCALAR_SIZE];
            rng.fill(&mut octets);
            secret(&octets)
        })
        .expect("a generator that gives no scalar in sixteen draws is not random")
}

/// The scalar of these octets, when they are one from 1 to n - 1.
pub(crate) fn secret(octets: &[u8; SCALAR_SIZE]) -> Option<SecretKey> {
    SecretKey::from_bytes(octets.into()).ok()
}

/// The uncompressed point that belongs to a scalar.
pub(crate) fn public_octets(secret: &SecretKey) -> [u8; P256_POINT] {
    let point = secret.public_key().to_sec1_point(false);
    point.as_bytes().try_into().expect("an uncompressed point of P-256 has 65 octets")
}

/// True of octets in the form of an uncompressed point; the curve is not checked.
pub(crate) fn is_uncompressed(octets: &[u8]) -> bool {
    octets.len() == P256_POINT && octets[0] == UNCOMPRESSED
}

/// The point of these octets, when they are an uncompressed one, on the curve, and not infinity (NIST SP
/// 800-56A section 5.6.2.3).
pub(crate) fn point(octets: &[u8]) -> Option<PublicKey> {
    if is_uncompressed(octets) { PublicKey::from_sec1_bytes(octets).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Gives octets that are no scalar (more than n) first, and a scalar after.
    #[derive(Debug, Default)]
    struct SecondDraw(AtomicBool);

    impl Rng for SecondDraw {
        fn fill(&self, into: &mut [u8]) {
            into.fill(if self.0.swap(true, Ordering::Relaxed) { 7 } else { 0xff });
        }
    }

    #[test]
    fn draws_again_when_the_octets_are_no_scalar() {
        assert_eq!(random_secret(&SecondDraw::default()).to_bytes()[..], [7; 32]);
        assert!(secret(&[0; 32]).is_none());
    }

    #[test]
    fn a_point_is_taken_in_the_uncompressed_form_only() {
        let octets = public_octets(&secret(&[7; 32]).unwrap());
        assert!(point(&octets).is_some());
        let hybrid = [&[6 + (octets[64] & 1)], &octets[1..]].concat();
        let compressed = [&[2 + (octets[64] & 1)], &octets[1..33]].concat();
        let mut off_curve = octets;
        off_curve[64] ^= 1;
        for other in [&hybrid[..], &compressed, &off_curve, &octets[1..], &octets[..64], &[0], &[]] {
            assert!(point(other).is_none());
        }
    }
}
