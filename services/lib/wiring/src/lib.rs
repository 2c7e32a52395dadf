//! Wiring of the services to the adapters: the only crate that knows both.
//!
//! [`standalone`] is all roles in one process over the embedded store; [`ingress`], [`router`] and
//! [`connection`] are the processes of a grid, over Kafka, Redis and gRPC. Services are built here with all
//! their dependencies passed in, and run; no service looks a dependency up.

pub mod backup;
mod broadcasts;
pub mod connection;
mod failure;
mod grid;
pub mod ingress;
mod keys;
mod loader;
mod process;
pub mod router;
mod settings;
pub mod standalone;
mod unserved;

pub use failure::Failure;
pub use keys::KeysError;
pub use process::Addresses;
pub use settings::{Role, Settings};
