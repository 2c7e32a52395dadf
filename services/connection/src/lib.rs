//! The edge that user agents connect to: sockets on one side, a router on the other.
//!
//! The way of a connection through the modules: `upgrade` turns a request into a WebSocket, `connection` serves it,
//! `ask` is what it asks of the router, and `drain` ends all of them. [`Node`] is the way back: the router hands
//! messages to it, and each waits in the `outbox` of its connection until the socket takes it.
//!
//! What is not here: any durable state, and any knowledge of a store. What a connection has not settled when it ends
//! is the router's to keep, and the end tells it so.
//!
//! Invariant: the answer to a hello is on the wire before any notification is.
//! Invariant: a session that was opened at the router is closed there exactly once, however the connection ends,
//! except when the process is stopped at once.
//! Invariant: a connection reads nothing while it waits for the router's answer to a register or unregister, for its
//! socket, or with a batch of acknowledgements at hand that the router has not heard of: so a user agent cannot make it
//! hold more than one frame, two such batches and its bounded outbox.
//! Invariant: a user agent without subscriptions costs the router nothing.

mod ask;
mod config;
mod connection;
mod counts;
mod drain;
mod node;
mod outbox;
mod run;
mod socket;
mod timer;
mod upgrade;

pub use config::Config;
pub use node::Node;
pub use run::{Deps, run};

#[cfg(test)]
mod testing;
