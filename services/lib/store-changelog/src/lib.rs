//! The state of one partition: a changelog in front, a view behind.

mod append;
mod claims;
mod committer;
mod core;
mod feed;
mod ground;
mod health;
mod mailbox;
mod note;
mod operation;
mod pause;
mod reassert;
mod replay;
mod store;
mod subscriptions;
mod take_over;
mod tracker;
mod tuning;
mod varint;
mod writer;

pub use health::{Health, Stop};
pub use store::{Figures, PartitionStore};
pub use take_over::{Deps, Estate, take_over};
pub use tuning::Tuning;

#[cfg(test)]
mod tests;
