//! Owns message and subscription state: takes accepted messages from the log, finds the socket of each user agent,
//! delivers, stores what cannot be delivered, and gives every message its outcome.
//!
//! A message's way: `worker` takes it from the log and asks whether its subscription is alive; `partition`
//! decides (its verbs are files: route, page, settle, close, ...); the worker carries out what it decided.
//! A user agent's way: [`Handle`] is the [`pushgrid_store::RouterLink`] that connection nodes and the ingress hold.
//!
//! What is not here: sockets, HTTP, any driver.
//!
//! Invariant: everything durable about a user agent is written by the router that owns it, through the seams.

mod config;
mod handle;
mod partition;
mod worker;

pub use config::Config;
pub use handle::Handle;
pub use worker::{Deps, Failure, Router};
