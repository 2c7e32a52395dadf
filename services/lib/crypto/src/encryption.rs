//! Encryption of push messages: `aes128gcm` (RFC 8291 over RFC 8188) both ways, and `aesgcm`
//! (draft-ietf-webpush-encryption-04) for reading, because libraries that send it are still deployed.
//!
//! This is the work of application server and user agent. The service passes bodies on as they came and needs
//! only [`sender_key_aes128gcm`] and [`sender_key_aesgcm`], which take the sender's public key out of a
//! message so that a VAPID key used as one can be refused (RFC 8292 section 3.2).
//!
//! Invariant: every message is encrypted under a fresh key pair and salt, in one record.
//! Invariant: plaintext is given out only if tag, delimiter and padding are all as they must be. A message of
//! several records, or one that was cut off, is refused (RFC 8291 section 4).

mod aes128gcm;
mod aesgcm;
mod derive;
mod error;
mod receiver;

pub use aes128gcm::{PLAINTEXT_MAX, encrypt_aes128gcm, sender_key_aes128gcm};
pub use aesgcm::sender_key_aesgcm;
pub use error::{DecryptError, EncryptError};
pub use receiver::{InvalidReceiver, Receiver};

#[cfg(test)]
mod tests;
