//! Joins the services to their adapters: the only place that knows both.
//!
//! [`standalone`] is all roles in one process over the embedded store; [`ingress`], [`router`] and [`connection`] are the
//! processes of a grid, over Kafka, Redis and gRPC. Services are built here, given what they need, and run; they never
//! look for anything by themselves.

pub mod connection;
mod failure;
mod figures;
pub mod ingress;
mod keeper;
mod keys;
mod process;
pub mod router;
mod settings;
pub mod standalone;

pub use failure::Failure;
pub use keys::KeysError;
pub use process::Addresses;
pub use settings::{Role, Settings};
