//! What one user agent connection is owed, without sockets, async or a clock of its own, and the protocols on top.
//!
//! [`Session`] knows messages: handed over by the router, on the wire, ended. It knows no protocol, so that every
//! way for a user agent to connect is a codec over the same core. [`autopush`] is such a codec.
//!
//! What is not here: who may connect, where messages come from, and every byte of I/O. The caller passes in the
//! time, takes actions out, and does them.
//!
//! Invariant: a message offered to a session ends there exactly once: settled, expired, or handed back at close.
//! Invariant: no message goes on the wire after its expiry (promise P4).
//! Invariant: an idle session holds next to no memory beyond itself.

pub mod autopush;
mod session;

pub use session::{Full, Limits, Next, Session};
