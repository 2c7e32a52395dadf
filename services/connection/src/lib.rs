//! The edge for user agents: connections on one side, a router on the other.
//!
//! The core knows no protocol: `service` starts and ends a node, `connection` serves one user agent,
//! `router_session` keeps the user agent's requests to the router in order and reports acknowledgements,
//! `timer` says when the user agent has been silent for too long, `end` why a connection ends, and `drain`
//! ends all connections. `broadcasts` has what is told to all user agents alike,
//! and `spread` brings its changes to them. [`Node`] is the way back: the router hands over messages, and each waits in the
//! `send_queue` of its connection until the transport takes it.
//!
//! `protocol` is the seam, and a folder beside the core is a protocol: `autopush` with its WebSocket, frames
//! and close codes, `sse` with the events of an HTTP answer, and `push` with the server push of HTTP/2. The core
//! knows no frame, no close code and no JSON; a protocol knows no session of a router and no drain. `resources`
//! are the HTTP requests of user agents without a WebSocket, of which one opens a connection by `sse` or `push`;
//! `monitor` is what the two have in common.
//!
//! Not here: any durable state, and any knowledge of a store. Messages not settled when a connection ends are
//! the router's to keep, and the end tells the router so.
//!
//! Invariant: the answer about the user agent's identity is on the wire before any message is.
//! Invariant: a session opened at the router is closed there exactly once, however the connection ends,
//! except when the process is stopped at once.
//! Invariant: while a router takes its time, a connection serves everything that needs no answer of the
//! router: messages, probes, acknowledgements. Registers and unregisters are answered in order.
//! Invariant: a connection reads nothing while waiting for the transport, while as many requests as allowed
//! wait for the router, or with a batch of unconfirmed acknowledgements at hand: so a user agent cannot make
//! a connection hold more than one request, so many requests to the router, two such batches and the bounded
//! send queue.
//! Invariant: a user agent without subscriptions costs the router nothing.

mod asked;
mod autopush;
mod broadcasts;
mod config;
mod connection;
mod counts;
mod drain;
mod end;
mod jitter;
mod monitor;
mod node;
mod protocol;
mod push;
mod receipt_form;
mod refusal;
mod resources;
mod router_session;
mod send_queue;
mod service;
mod shared;
mod spread;
mod sse;
mod timer;

pub use broadcasts::admin::broadcast_routes;
pub use config::Config;
pub use node::Node;
pub use receipt_form::ReceiptForm;
pub use resources::{Receipts, Resources};
pub use service::{Connections, Deps};

#[cfg(test)]
mod testing;
