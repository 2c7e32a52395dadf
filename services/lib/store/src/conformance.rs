//! The one suite that every adapter and every model runs: each sentence of each contract as a named check.
//!
//! A check takes fresh [`Parts`], panics with what was broken, and knows nothing of the adapter. The account of
//! promise P2 has to add up at the end of every one. [`run`] goes through all that belong to one state;
//! [`presence::run`], [`view::run`] and [`membership::run`] go through those of [`crate::Presence`], [`crate::View`] and
//! [`crate::Membership`], each of which stands alone.
//!
//! What is not here: faults. Only an adapter knows how to make its own fail.

pub mod log;
pub mod mailbox;
pub mod membership;
pub mod page;
pub mod presence;
pub mod settle;
pub mod subscriptions;
mod support;
pub mod topics;
pub mod view;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::Timestamp;

use crate::{EventLog, Ledger, LogConsumer, Mailbox, Subscriptions};

/// One adapter, opened on an empty state.
#[derive(Debug)]
pub struct Parts {
    /// Where messages are accepted.
    pub log: Arc<dyn EventLog>,
    /// The router's side of it.
    pub consumer: Box<dyn LogConsumer>,
    /// Where messages wait.
    pub mailbox: Arc<dyn Mailbox>,
    /// Who may receive.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// The account that the adapter keeps.
    pub ledger: Arc<Ledger>,
    /// What time it is for the adapter.
    pub now: Timestamp,
    /// The present life of the adapter.
    pub life: Box<dyn Life>,
}

/// What a check can do to an adapter that is in no contract.
#[async_trait]
pub trait Life: Send + Sync + fmt::Debug {
    /// Returns when every change that was asked for before is written and entered in the account, lazy ones too.
    async fn rest(&self);

    /// Ends this life, in whatever manner is to be tested, and opens the next one on the same state. All other
    /// parts have been dropped.
    async fn reopen(self: Box<Self>) -> Parts;
}

/// Runs every check, each on what `make` opens for it.
pub async fn run(make: impl AsyncFn() -> Parts) {
    log::run(&make).await;
    mailbox::run(&make).await;
    page::run(&make).await;
    settle::run(&make).await;
    topics::run(&make).await;
    subscriptions::run(&make).await;
}

/// Runs the named checks of this module, one after the other.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        /// Runs every check of this module, each on what `make` opens for it.
        pub async fn run(make: &impl AsyncFn() -> $crate::conformance::Parts) {
            $(Box::pin($check(make().await)).await;)+
        }
    };
}
use checks;
