//! The messages owed to one user agent connection, without sockets, async or a clock, and the protocols on top.
//!
//! [`Session`] knows messages: handed over by the router, on the wire, ended. The core knows no protocol, so every
//! way for a user agent to connect is a codec over the same core: [`autopush`] with frames, [`sse`] with events.
//! [`options`] reads what a user agent over HTTP asks of a subscription.
//!
//! Not here: the right to connect, the origin of messages, and all I/O. The caller passes in the time, takes actions
//! out, and carries out the actions.
//!
//! Invariant: a message offered to a session ends there exactly once: settled, expired, or handed back at close.
//! Invariant: no message goes on the wire after its expiry (promise P4).
//! Invariant: an idle session holds next to no memory beyond itself.

pub mod autopush;
mod content;
pub mod options;
pub mod receipt;
mod session;
pub mod sse;

pub use session::{Full, Limits, Next, Session};
