//! VAPID: how application servers identify themselves (RFC 8292), and the form of draft-ietf-webpush-vapid-01
//! that libraries still send beside `aesgcm`.
//!
//! [`Verifier`] reads `Authorization` and `Crypto-Key`, checks the token, and says which key signed it.
//! Whether that key may send to a subscription is the caller's to compare ([`Verified::holds`]), as are the
//! answers: `Ok(None)`, no `Authorization` at all, is 401 on a restricted subscription and nothing on an open
//! one; a fault carries its [`Status`]. [`KeyPair`] signs tokens, for an application server of our own.
//!
//! Not here: what goes with a 401 (`WWW-Authenticate: vapid`), and refusing a VAPID key that also encrypts
//! the message (RFC 8292 section 3.2; see [`crate::encryption::sender_key_aes128gcm`]).
//!
//! Invariant: of a token that is not valid in every respect nothing is used, and an error holds no part of
//! it. Of a valid token only the key is: the contact in `sub` proves nothing.
//! Invariant: the key is `k` or `p256ecdsa`, never one that the token names. Nothing is fetched.
//! Invariant: a verified token is remembered no longer than it is valid, and a refused one not at all.
//!
//! # Where the standards leave a choice
//!
//! The rule: take what deployed libraries send, refuse what only an attacker or a fault would send.
//!
//! | token | here | why |
//! |---|---|---|
//! | `exp` up to 120 s beyond 24 h | taken | senders sign exactly 24 h, with a clock of their own |
//! | `exp` up to 60 s ago | taken | the same clocks, and the time on the way |
//! | `exp` this very second | taken | RFC 8292 section 4.2 refuses a time *later* than `exp` |
//! | `nbf` up to 120 s ahead | taken | libraries always write `nbf`, as the time of a clock that may be fast |
//! | `nbf` that is not a number | refused | no library writes it, and guessing what it means would be using it |
//! | `sub` that is not a URI, or none | taken | a default of deployed libraries, and used for nothing |
//! | `aud` with the default port | taken | the same origin, spelled out |
//! | `aud` without the port of a service on another port | taken | four libraries leave the port out |
//! | `aud` with upper-case letters | taken | the same origin: schemes and hosts have no case |
//! | `aud` with one trailing slash | taken | the same origin as the URL that senders cut it from; deployed services take it |
//! | `aud` as a list with something that is no string | refused | RFC 7519 section 4.1.3, and no library writes it |
//! | a member name twice | refused | two parsers could read two tokens |
//! | `k` padded, or in standard base64 | taken | keys are pasted from many tools; it is compared by its octets |
//! | base64url in the token that is not canonical | refused | RFC 7515 section 2; no encoder writes it |
//! | `Bearer` with `Crypto-Key: p256ecdsa` | taken | the first draft; deployed services take it |
//! | signature with a high `s` | taken | the example of RFC 8292 has one |

mod audience;
mod claims;
mod credentials;
mod error;
mod json;
mod key;
mod key_pair;
mod signature;
mod verifier;

pub use audience::{Audiences, InvalidPublicUrl};
pub use error::{Status, VapidError};
pub use key::{InvalidPublicKey, PublicKey};
pub use key_pair::{InvalidKeyPair, KeyPair};
pub use verifier::{Verified, Verifier, VerifierCounts};

#[cfg(test)]
mod tests;
