//! Log, mailbox and subscriptions over one `SQLite` file with group commit: several messages, one fsync.
//!
//! All changes go through one queue to one thread, the committer, which owns the only connection that writes. It
//! takes what has gathered, applies it in one transaction, commits, and only then answers, enters the account and
//! hands messages to the consumer. What nobody waits for durably (how messages were delivered) joins the next
//! transaction, and costs no fsync of its own. Reads go to a few connections of their own.
//!
//! One table holds log and mailbox: storing a message sets a mark on its row, and ending it deletes the row and
//! enters the outcome in the same transaction. So promise P2 holds across a crash at any moment.
//!
//! What is not here: anything that two processes could share. An exclusive lock on the data directory says so.
//!
//! Invariant: nothing is answered, entered in the [`pushgrid_store::Ledger`] or handed out before it is committed.
//! Invariant: sequences are given by the committer alone, one after the other, and never twice.
//! Invariant: a transaction that carries anything that must be durable is committed with an fsync.

mod account;
mod cache;
mod checkpointer;
mod committer;
mod config;
mod consumer;
mod directory;
mod embedded;
mod failure;
mod feed;
mod queue;
mod readers;
mod row;
mod schema;
mod shared;
mod usage;
mod write;

mod log;
mod mailbox;
mod subscriptions;

pub use config::EmbeddedConfig;
pub use consumer::{ConsumerTaken, EmbeddedConsumer};
pub use embedded::{Embedded, OpenError};

#[cfg(test)]
mod tests;
