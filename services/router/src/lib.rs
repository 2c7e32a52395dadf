//! Owns message and subscription state: takes accepted messages from the log, finds the socket of each user
//! agent, delivers, stores the undelivered, and gives every message its outcome.
//!
//! Path of a message: `worker` takes each batch from the log and looks the subscriptions up; `partition`
//! decides (the verbs are files: route, page, settle, close, ...); the worker carries the decisions out. Path
//! of a partition: one process can own all of them as one (standalone builds one [`PartitionWorker`]), or a
//! share of many: [`Router`] takes over its assigned partitions and runs a [`PartitionWorker`] for each. Both
//! work on a [`pushgrid_store::PartitionState`] for each partition, and share one [`RouterContext`]. Path of
//! a user agent: [`Handle`] is the [`pushgrid_store::RouterLink`] of connection nodes and the ingress, and
//! [`PartitionRegistry`] the one over all partitions of a process.
//!
//! Not here: sockets, HTTP, any driver.
//!
//! Invariant: everything durable about a user agent is written by the owning router, through the seams.

mod config;
mod context;
mod handle;
mod hooked;
mod partition;
mod receipts;
mod router;
mod unseen;
mod worker;

pub use config::Config;
pub use context::RouterContext;
pub use handle::Handle;
pub use router::{PartitionRegistry, Router, RouterDeps, RouterFailure};
pub use worker::{PartitionWorker, WorkerFailure};
