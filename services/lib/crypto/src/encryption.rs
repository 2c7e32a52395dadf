//! Encryption of push messages: `aes128gcm` (RFC 8291 over RFC 8188) both ways, and `aesgcm`
//! (draft-ietf-webpush-encryption-04) for reading, because deployed libraries still send the latter.
//!
//! This is the work of application server and user agent. The service passes bodies on unchanged and needs only
//! [`sender_key_aes128gcm`] and [`sender_key_aesgcm`], which take the sender's public key out of a message so that a
//! VAPID key used as one can be refused (RFC 8292 section 3.2).
//!
//! Invariant: every message is encrypted under a fresh key pair and salt, in one record.
//! Invariant: plaintext is given out only if tag, delimiter and padding are all correct. A message of several
//! records, or a truncated one, is refused (RFC 8291 section 4).

mod aes128gcm;
mod aesgcm;
mod derive;
mod error;
mod receiver;
mod size;

pub use aes128gcm::{encrypt_aes128gcm, sender_key_aes128gcm};
pub use aesgcm::{is_salt_aesgcm, is_sender_key_aesgcm, sender_key_aesgcm};
pub use error::{DecryptError, EncryptError};
pub use receiver::{InvalidReceiver, Receiver};
pub use size::PLAINTEXT_MAX;

#[cfg(test)]
mod tests;
