//! Owns message and subscription state: takes accepted messages from the log, finds the socket of each user agent,
//! delivers, stores what cannot be delivered, and gives every message its outcome.
//!
//! A message's way: `worker` takes it from the log and asks whether its subscription is alive; `partition`
//! decides (its verbs are files: route, page, settle, close, ...); the worker carries out what it decided.
//! A partition's way: one process can own all of them as one (standalone builds one [`Router`]), or a share of many:
//! [`Fleet`] takes over what it is assigned and runs a [`Router`] for each.
//! A user agent's way: [`Handle`] is the [`pushgrid_store::RouterLink`] that connection nodes and the ingress hold, and [`Table`] the one
//! over all partitions of a process.
//!
//! What is not here: sockets, HTTP, any driver.
//!
//! Invariant: everything durable about a user agent is written by the router that owns it, through the seams.

mod config;
mod fleet;
mod handle;
mod partition;
mod worker;

pub use config::Config;
pub use fleet::{Estate, Fleet, FleetDeps, FleetFailure, Keeper, Life, Table};
pub use handle::Handle;
pub use worker::{Deps, Failure, Router};
