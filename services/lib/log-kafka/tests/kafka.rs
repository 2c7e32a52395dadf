//! The log, the changelog and the group of routers against a real Kafka.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "kafka/broadcasts.rs"]
mod broadcasts;
#[path = "kafka/changelog.rs"]
mod changelog;
#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/hand_over.rs"]
mod hand_over;
#[path = "kafka/log.rs"]
mod log;
#[path = "kafka/support.rs"]
mod support;
#[path = "kafka/topics.rs"]
mod topics;
