//! The cryptography of pushgrid: endpoint tokens, message addresses, VAPID and message encryption.
//!
//! - [`EndpointTokens`], [`MessageAddresses`] and [`ResourceAddresses`] seal the meaning of a URL into the URL, so a
//!   forged or foreign one costs no look-up. All work under [`EndpointKeys`], which an operator makes and rotates.
//! - [`WebhookSecrets`] derives the secret that a webhook verifies receipts with, from the same keys.
//! - [`vapid`] tells application servers apart (RFC 8292 and the draft before it), and signs for our own.
//! - [`encryption`] is the other two parties' side of a message (RFC 8291, RFC 8188 and the `aesgcm` draft): for our
//!   user agent, our application server and tests. The service itself never decrypts, and has no key for decryption.
//!
//! Nothing here does I/O, asks a clock, or knows HTTP beyond the text of a few fields. The algorithms come from
//! `aes-gcm`, `p256`, `hkdf`, `sha2` and `ring`; only the formats are ours.
//!
//! Invariant: only authenticated values leave this crate. Anything else is refused whole, by `None` or by an error
//! without any part of the input.
//! Invariant: no text causes a panic, and the work for a text is bounded by the length and by a fixed number of keys.
//! Invariant: `Debug` and `Display` show no key, token, endpoint or plaintext.
//! Invariant: an endpoint has one text under one key, so equal texts mean equal subscriptions.
//! Invariant: a nonce is used for one plaintext. An `Incarnation` is made anew whenever anything sealed in the
//! endpoint changes (the VAPID key included), and a `MessageId` belongs to one message.

mod address;
mod curve;
pub mod encryption;
mod endpoint;
mod fields;
mod keys;
mod receipts;
mod resource;
mod sealer;
mod text;
pub mod vapid;
mod webhook;

#[cfg(test)]
mod testing;

pub use address::MessageAddresses;
pub use endpoint::{EndpointTokens, SealedEndpoint};
pub use keys::{EndpointKeys, InvalidEndpointKeys, KeyId};
pub use receipts::ReceiptAddresses;
pub use resource::ResourceAddresses;
pub use webhook::WebhookSecrets;
