use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use pushgrid_types::{Rng, Timestamp};
use serde::Serialize;

use super::PublicKey;
use crate::{curve, text};

/// The key pair of an application server: it signs VAPID tokens (RFC 8292 section 2).
#[derive(Clone)]
pub struct KeyPair {
    secret: SecretKey,
    public: PublicKey,
}

/// A text that should have been a VAPID private key. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyPair {
    /// Neither 32 octets of base64url nor PEM.
    #[error("a VAPID private key is base64url of 32 octets (43 characters), or PEM")]
    NotAKey,
    /// PEM of something else.
    #[error("the PEM holds no unencrypted P-256 private key (EC PRIVATE KEY or PRIVATE KEY)")]
    Pem,
    /// Zero, or not below the order of the curve.
    #[error("the number is not a private key of P-256")]
    NotAScalar,
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

    /// From base64url of the 32 octets of the private key (standard base64 and padding too), or from PEM:
    /// SEC1 as `openssl ecparam -genkey` writes it, its parameters in front included, or PKCS #8.
    pub fn from_text(text: &str) -> Result<Self, InvalidKeyPair> {
        let text = text.trim();
        if let Some(last_block) = text.rfind("-----BEGIN") {
            let secret = SecretKey::from_pem(&text[last_block..]).map_err(|_| InvalidKeyPair::Pem)?;
            return Ok(Self::of(secret));
        }
        let octets = text::decode_array(text).ok_or(InvalidKeyPair::NotAKey)?;
        curve::secret(&octets).map(Self::of).ok_or(InvalidKeyPair::NotAScalar)
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

    /// An `Authorization` field for push resources of the origin `audience`: `vapid t=..., k=...` (RFC 8292
    /// section 3), good until `expires`, which a service takes no more than 24 hours ahead. `subject` is a
    /// contact, a `mailto:` or `https:` URI. The same input gives the same field (RFC 6979).
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
