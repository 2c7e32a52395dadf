use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use p256::{PublicKey, SecretKey};
use sha2::Sha256;

use super::DecryptError;

/// Key and nonce of the one record of a message. Record number 0 leaves the nonce as derived (RFC 8188 section 2.3).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ContentKeys {
    pub(super) key: [u8; 16],
    pub(super) nonce: [u8; 12],
}

impl ContentKeys {
    /// From the input keying material and the salt, with the two labels of an encoding.
    pub(super) fn derive(ikm: &[u8], salt: &[u8; 16], key_info: &[u8], nonce_info: &[u8]) -> Self {
        let prk = Hkdf::<Sha256>::new(Some(salt), ikm);
        Self { key: expand(&prk, key_info), nonce: expand(&prk, nonce_info) }
    }

    /// Ciphertext and tag.
    pub(super) fn seal(&self, record: &[u8]) -> Vec<u8> {
        Aes128Gcm::new(&self.key.into())
            .encrypt(&Nonce::from(self.nonce), record)
            .expect("a push message is far shorter than what AES-GCM can take")
    }

    /// The record, padding and all.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
        Aes128Gcm::new(&self.key.into())
            .decrypt(&Nonce::from(self.nonce), sealed)
            .map_err(|aes_gcm::Error| DecryptError::Tag)
    }
}

/// HKDF over the shared secret with the authentication secret as salt: the input keying material of the
/// content keys.
pub(super) fn keying_material(
    secret: &SecretKey,
    public: &PublicKey,
    auth: &[u8; 16],
    info: &[u8],
) -> [u8; 32] {
    let shared = secret.diffie_hellman(public);
    expand(&Hkdf::<Sha256>::new(Some(auth), shared.raw_secret_bytes()), info)
}

fn expand<const N: usize>(prk: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut output = [0; N];
    prk.expand(info, &mut output).expect("32 octets are within what HKDF can give");
    output
}
