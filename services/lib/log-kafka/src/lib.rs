//! The log and the changelog over Apache Kafka.
//!
//! Two topics with the same number of partitions ([`topics`]): `<prefix>.accepted` holds accepted messages, and
//! `<prefix>.state`, which is compacted, every change of what must not be lost. [`KafkaLog`] appends to the first,
//! [`KafkaAssignments`] shares its partitions out among routers and reads it, [`KafkaChangelog`] writes and reads the
//! second. How a record is laid out stands in [`records`].
//!
//! What is not here: what a message means, what a change does, and who may do it. A router that has lost its partition
//! is stopped by its tenure and by the broker, which refuses its commits.
//!
//! Invariant: the sequence of a message is its offset plus one, and a position in the changelog is an offset.
//! Invariant: an append that has returned is on every replica in sync, and there are `min.insync.replicas` of them.
//! Invariant: no librdkafka call that waits for the network is made on a thread of the runtime.
//! Invariant: no key, endpoint or payload reaches a log line.

mod changelog;
mod client;
mod config;
mod failure;
mod feed;
mod group;
mod log;
mod offsets;
mod producer;
mod reading;
pub mod records;
mod share;
pub mod topics;

pub use changelog::KafkaChangelog;
pub use config::{Config, Security};
pub use failure::Failure;
pub use group::{GroupWatch, KafkaAssignments, Lag};
pub use log::KafkaLog;
pub use topics::Topics;
