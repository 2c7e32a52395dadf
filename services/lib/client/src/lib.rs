//! The two parties around a push service, as a library: a user agent, that speaks the autopush WebSocket protocol
//! or HTTP (RFC 8030), and an application server that encrypts (RFC 8291), signs (RFC 8292) and posts (RFC 8030).
//!
//! For the tools, the tests, and the bridge of broadcasts. Not a browser: the library keeps nothing on disk, does not reconnect, and shows no
//! notification.
//!
//! Invariant: every wait has a limit, every buffer has a bound, and nothing is spawned: the work of a value here
//! stops when the value is dropped. (Pooled HTTP connections live in tasks of the runtime, and end after a time of
//! idleness.)
//! Invariant: `Debug` shows no endpoint, key, payload or user agent id.

mod application_server;
mod connect;
mod error;
mod event;
mod http_agent;
mod push_subscription;
mod receipts;
mod response;
mod send_error;
mod subscription;
mod text;
mod tls;
mod user_agent;
mod wire;

pub use application_server::{Accepted, ApplicationServer, ReceiptWish, SendOptions, Setup};
pub use connect::ConnectOptions;
pub use error::ClientError;
pub use event::{Ack, Event, Notification};
pub use http_agent::{HttpAgent, Monitor, Monitored, Paths, Receipt, Transport};
pub use push_subscription::{InvalidPushSubscription, PushSubscription};
pub use receipts::{ReceiptEvent, Receipts};
pub use response::Response;
pub use send_error::{Refusal, SendError};
pub use subscription::{NotDecrypted, Subscription};
pub use tls::Tls;
pub use tokio_tungstenite::tungstenite::Message;
pub use user_agent::{Hello, UserAgent, WAITING_MAX};

/// Codes of the autopush protocol, as sent by a user agent.
pub mod codes {
    /// `ack`: delivered.
    pub const DELIVERED: u16 = 100;
    /// `ack`: could not be decrypted.
    pub const UNDECRYPTABLE: u16 = 101;
    /// `ack`: not delivered, for a reason other than decryption.
    pub const NOT_DELIVERED: u16 = 102;
    /// `unregister`: the subscription was given up by hand.
    pub const UNREGISTERED_BY_HAND: u32 = 200;
    /// `unregister`: the quota of messages without a notification is used up.
    pub const QUOTA_EXCEEDED: u32 = 201;
    /// `unregister`: the person withdrew the permission.
    pub const PERMISSION_REVOKED: u32 = 202;
    /// WebSocket close: do not reconnect by yourself.
    pub const DO_NOT_RECONNECT: u16 = 4774;
}
