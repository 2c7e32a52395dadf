//! The key pair of an application server, and signing with it.
//!
//! Invariant: the private key leaves only by the two functions that say so, and is in no error or `Debug`. The
//! formats of key files are read in `key_file`.

use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use pushgrid_types::{Rng, Timestamp};
use serde::Serialize;

use super::key_file::InvalidKeyPair;
use super::{PublicKey, key_file};
use crate::{curve, text};

/// The key pair of an application server, for signing VAPID tokens (RFC 8292 section 2).
#[derive(Clone)]
pub struct KeyPair {
    secret: SecretKey,
    public: PublicKey,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl KeyPair {
    /// A new pair.
    pub fn generate(rng: &dyn Rng) -> Self {
        Self::of(curve::random_secret(rng))
    }

    /// Parses a text in any form that [`Self::from_file`] takes.
    pub fn from_text(text: &str) -> Result<Self, InvalidKeyPair> {
        Self::from_file(text.as_bytes())
    }

    /// Reads the content of a key file, in the forms of common tools: base64url of the 32 octets (standard base64,
    /// padding and lost leading zeros too), PEM with SEC 1 or PKCS #8 among other blocks, the same as DER, the JSON
    /// or the lines of `web-push generate-vapid-keys`, or `VAPID_PRIVATE_KEY=...`.
    pub fn from_file(content: &[u8]) -> Result<Self, InvalidKeyPair> {
        key_file::private_key(content).map(Self::of)
    }

    /// The private key as base64url without padding: 43 characters, a secret.
    pub fn to_text(&self) -> String {
        text::encode(&self.secret.to_bytes())
    }

    /// The private key as PKCS #8 in PEM, a secret.
    pub fn to_pem(&self) -> String {
        self.secret
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key of fixed size can always be written")
            .to_string()
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// An `Authorization` field for push resources of the origin `audience`: `vapid t=..., k=...` (RFC 8292 section
    /// 3), good until `expires`, which services take at most 24 hours ahead. `subject` is a contact, a `mailto:` or
    /// `https:` URI. The same input gives the same field (RFC 6979).
    pub fn authorization(&self, audience: &str, expires: Timestamp, subject: Option<&str>) -> String {
        let claims = Claims { aud: audience, exp: expires.as_secs(), sub: subject };
        let claims = serde_json::to_vec(&claims).expect("texts and a number are always JSON");
        let header = text::encode(br#"{"typ":"JWT","alg":"ES256"}"#);
        let signed = format!("{header}.{}", text::encode(&claims));
        let signature: Signature = SigningKey::from(&self.secret).sign(signed.as_bytes());
        format!("vapid t={signed}.{}, k={}", text::encode(&signature.to_bytes()), self.public.to_text())
    }

    fn of(secret: SecretKey) -> Self {
        Self { public: PublicKey::of(&secret), secret }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}
