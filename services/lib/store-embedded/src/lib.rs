//! Log, mailbox, subscriptions and broadcasts over one `SQLite` file with group commit: several messages, one fsync.
//!
//! All changes go through one queue to one thread, the committer, which owns the only writing connection. The
//! committer applies the queued changes in one transaction, commits, and only then answers, enters the account and
//! hands messages to the consumer. Changes without a waiting caller (the outcomes of messages in the log) join the
//! next transaction, and cost no fsync. Reads use a few other connections.
//!
//! One table holds log and mailbox: storing a message marks the row, and ending a message deletes the row and enters
//! the outcome in the same transaction. So promise P2 holds across a crash at any moment.
//!
//! Without room, additions are refused, and messages and subscriptions still end (`room`).
//!
//! Not here: anything shared by two processes. An exclusive lock on the data directory says so.
//!
//! Invariant: nothing is answered, entered in the [`pushgrid_store::Ledger`] or handed out before it is committed.
//! Invariant: sequences are given by the committer alone, one after the other, and never twice.
//! Invariant: a transaction with any durable change is committed with an fsync.

mod account;
pub mod backup;
mod broadcasts;
mod cache;
mod checkpointer;
mod committer;
mod config;
mod consumer;
mod damage;
mod directory;
mod embedded;
mod failure;
mod feed;
mod figures;
mod keys;
mod loss;
mod open_error;
mod owner;
mod queue;
mod readers;
mod recovery;
mod reserve;
mod room;
mod row;
mod schema;
mod seals;
mod shared;
mod shown;
mod usage;
mod wal;
mod write;

mod log;
mod mailbox;
mod partition;
mod presence;
mod subscriptions;

pub use config::EmbeddedConfig;
pub use consumer::{ConsumerTaken, EmbeddedConsumer};
pub use embedded::Embedded;
pub use keys::{KeyId, KeyOrigin, Keys};
pub use open_error::OpenError;
pub use presence::EmbeddedPresence;
pub use wal::LostLog;

#[cfg(test)]
mod tests;
