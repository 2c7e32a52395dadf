//! VAPID: the identification of application servers (RFC 8292), and the form of draft-ietf-webpush-vapid-01, still
//! sent by libraries beside `aesgcm`.
//!
//! [`Verifier`] reads `Authorization` and `Crypto-Key`, checks the token, and returns the key of the signature.
//! Callers compare this key with the restriction of a subscription ([`Verified::holds`]), and choose the answers:
//! `Ok(None)`, no `Authorization` at all, is 401 on a restricted subscription and nothing on an open one; a fault
//! carries a [`Status`]. [`KeyPair`] signs tokens, for an application server of our own.
//!
//! Not here: the field that goes with a 401 (`WWW-Authenticate: vapid`), and the refusal of a VAPID key that is also
//! the encryption key (RFC 8292 section 3.2; see [`crate::encryption::sender_key_aes128gcm`]).
//!
//! Invariant: nothing of a token is used unless all of the token is valid, and an error holds no part of a token. Of
//! a valid token only the key is used: the contact in `sub` proves nothing.
//! Invariant: the key is `k` or `p256ecdsa`, never one named in the token. Nothing is fetched.
//! Invariant: a verified token is remembered only while valid, and a refused one not at all.
//!
//! # Where the standards leave a choice
//!
//! The rule: take whatever deployed libraries send, refuse whatever only an attacker or a fault would send.
//!
//! | token | here | why |
//! |---|---|---|
//! | `exp` up to 120 s beyond 24 h | taken | senders sign exactly 24 h, with a clock of their own |
//! | `exp` up to 60 s ago | taken | the same clocks, and the time on the way |
//! | `exp` this very second | taken | RFC 8292 section 4.2 refuses a time *later* than `exp` |
//! | `nbf` up to 120 s ahead | taken | libraries always write `nbf`, by a clock that may be fast |
//! | `nbf` other than a number | refused | no library writes one, and a guess at the meaning would be a use |
//! | `sub` other than a URI, or none | taken | a default of deployed libraries, and used for nothing |
//! | `aud` with the default port | taken | the same origin, spelled out |
//! | `aud` without the port of a service on another port | taken | four libraries leave the port out |
//! | `aud` with upper-case letters | taken | the same origin: schemes and hosts have no case |
//! | `aud` with one trailing slash | taken | the same origin, as cut from a URL; deployed services take the slash |
//! | `aud` as a list with anything but strings | refused | RFC 7519 section 4.1.3, and no library writes one |
//! | a member name twice | refused | two parsers could read two tokens |
//! | `k` padded, or in standard base64 | taken | keys are pasted from many tools; the octets are compared |
//! | base64url in the token, not canonical | refused | RFC 7515 section 2; no encoder writes this |
//! | `Bearer` with `Crypto-Key: p256ecdsa` | taken | the first draft; deployed services take both |
//! | signature with a high `s` | taken | the example of RFC 8292 has one |

mod audience;
mod claims;
mod credentials;
mod error;
mod json;
mod key;
mod key_file;
mod key_pair;
mod signature;
mod verifier;

pub use audience::{Audiences, InvalidPublicUrl};
pub use error::{Status, VapidError};
pub use key::{InvalidPublicKey, PublicKey};
pub use key_file::InvalidKeyPair;
pub use key_pair::KeyPair;
pub use verifier::{Verified, Verifier, VerifierCounts};

/// The longest token to be verified, in characters. Libraries send 250 to 400.
const TOKEN_MAX: usize = 4096;

#[cfg(test)]
mod tests;
