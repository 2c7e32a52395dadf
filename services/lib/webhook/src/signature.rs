//! Signatures and secrets in the forms of the Standard Webhooks specification (symmetric, version `v1`).
//!
//! Invariant: the signed text has one reading, for an id holds no full stop: see [`is_id`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Largest length of an id in octets.
const ID_MAX: usize = 256;

/// True for an id that may be signed: 1 to 256 of `A-Z a-z 0-9 - _`. A full stop would let the end of an id be read as
/// a timestamp.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len())
        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
}

/// The text of a secret, as libraries for receivers take it.
pub(crate) fn secret_text(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// The value of `webhook-signature`: HMAC-SHA256 of `id.timestamp.body`.
pub(crate) fn sign(secret: &[u8], id: &str, at: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{id}.{at}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the specification's own libraries; checked with Python's hmac.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_id_cannot_be_read_as_anything_else() {
        for good in ["a", "msg_p5jXN8AQM9LWM0D4loKWxJek", "AZaz09-_", &"x".repeat(ID_MAX)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "a.1", "a b", "a\r\n", "ä", &"x".repeat(ID_MAX + 1)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
