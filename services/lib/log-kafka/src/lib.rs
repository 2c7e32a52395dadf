//! Adapter of the log, the changelog, the assignment of partitions and the broadcasts over Apache Kafka.
//!
//! Two topics with the same number of partitions ([`topics`]): `<prefix>.accepted` holds accepted messages,
//! and the compacted `<prefix>.state` every durable change of state. [`KafkaLog`] appends to the first,
//! [`KafkaAssignments`] reads it through the consumer group of routers, [`KafkaChangelog`] writes and reads
//! the second. The layout of records is in [`records`]. [`KafkaBroadcasts`] has a compacted topic of one partition,
//! `<prefix>.broadcasts`.
//!
//! Not here: the meaning of messages and changes, and the right to make them. A router that has lost its
//! partition is fenced by the leader epoch, and by the broker, which refuses the router's commits.
//!
//! Invariant: the sequence of a message is the offset plus one, and a position in the changelog is an offset.
//! Invariant: a returned append is on every in-sync replica, and there are `min.insync.replicas` of them.
//! Invariant: no librdkafka call that waits for the network runs on a thread of the runtime.
//! Invariant: no record ends a partition: an unreadable one is passed over and counted.
//! Invariant: no key, endpoint or payload reaches a log line.

mod broadcasts;
mod callbacks;
mod changelog;
mod client;
mod config;
mod failure;
mod feed;
mod group;
mod log;
mod offsets;
mod passed;
mod producer;
mod reading;
pub mod records;
mod share;
pub mod topics;
mod watermarks;

pub use broadcasts::KafkaBroadcasts;
pub use changelog::KafkaChangelog;
pub use config::{Config, Security};
pub use failure::Failure;
pub use group::{GroupWatch, KafkaAssignments, Lag};
pub use log::KafkaLog;
pub use topics::Topics;
