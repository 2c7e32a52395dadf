//! The two parties around a push service, as a library: a user agent that speaks the autopush WebSocket protocol,
//! and an application server that encrypts (RFC 8291), signs (RFC 8292) and posts (RFC 8030).
//!
//! It is what the tools and the tests use. It is not a browser: it keeps nothing on disk, it does not reconnect, and
//! it shows nobody a notification.
//!
//! Invariant: every wait has a limit, every buffer has a bound, and nothing is spawned: what a value here does stops
//! when it is dropped. (Pooled HTTP connections live in tasks of the runtime, and end when they have been idle.)
//! Invariant: `Debug` shows no endpoint, key, payload or user agent id.

mod application_server;
mod connect;
mod error;
mod event;
mod push_subscription;
mod send_error;
mod subscription;
mod text;
mod tls;
mod user_agent;
mod wire;

pub use application_server::{ApplicationServer, Receipt, Response, SendOptions, Setup};
pub use connect::ConnectOptions;
pub use error::ClientError;
pub use event::{Ack, Event, Notification};
pub use push_subscription::{InvalidPushSubscription, PushSubscription};
pub use send_error::{Refusal, SendError};
pub use subscription::{NotDecrypted, Subscription};
pub use tls::Tls;
pub use tokio_tungstenite::tungstenite::Message;
pub use user_agent::{Hello, UserAgent, WAITING_MAX};

/// Codes of the autopush protocol that a user agent sends.
pub mod codes {
    /// `ack`: delivered.
    pub const DELIVERED: u16 = 100;
    /// `ack`: could not be decrypted.
    pub const UNDECRYPTABLE: u16 = 101;
    /// `ack`: not delivered, for a reason other than decryption.
    pub const NOT_DELIVERED: u16 = 102;
    /// `unregister`: the subscription was given up by hand.
    pub const UNREGISTERED_BY_HAND: u32 = 200;
    /// `unregister`: the quota of messages that showed nothing is used up.
    pub const QUOTA_EXCEEDED: u32 = 201;
    /// `unregister`: the person withdrew the permission.
    pub const PERMISSION_REVOKED: u32 = 202;
    /// WebSocket close: do not reconnect by yourself.
    pub const DO_NOT_RECONNECT: u16 = 4774;
}
