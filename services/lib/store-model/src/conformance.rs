//! Conformance suite of the seams, run by every adapter and every model: each sentence of each contract as a
//! named check.
//!
//! A check takes fresh [`Parts`], panics with the broken sentence, and knows nothing of the adapter. After
//! each check the account of promise P2 must add up. [`run`] runs the checks over one state;
//! [`presence::run`], [`view::run`], [`membership::run`] and [`broadcasts::run`] run those of
//! [`pushgrid_store::Presence`], [`pushgrid_store::View`], [`pushgrid_store::Membership`] and
//! [`pushgrid_store::Broadcasts`].
//!
//! Not here: faults, which each adapter injects in its own way.

pub mod broadcasts;
pub mod ends;
pub mod log;
pub mod mailbox;
pub mod membership;
pub mod page;
pub mod presence;
pub mod receipts;
pub mod settle;
pub mod subscriptions;
mod support;
pub mod topics;
pub mod view;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::Timestamp;

use ends::ToldEnds;
use pushgrid_store::{EventLog, Ledger, LogConsumer, Mailbox, Subscriptions};

/// One adapter, opened on an empty state.
#[derive(Debug)]
pub struct Parts {
    /// Producing side of the log.
    pub log: Arc<dyn EventLog>,
    /// Consuming side of the log.
    pub consumer: Box<dyn LogConsumer>,
    /// Mailbox of stored messages.
    pub mailbox: Arc<dyn Mailbox>,
    /// Subscriptions.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Account kept by the adapter.
    pub ledger: Arc<Ledger>,
    /// Ends told by the adapter in this life, opened with a feed to this subscriber.
    pub ends: Arc<ToldEnds>,
    /// Current time of the adapter.
    pub now: Timestamp,
    /// Control over restarts of the adapter.
    pub life: Box<dyn Life>,
}

/// Operations on an adapter that are part of no contract.
#[async_trait]
pub trait Life: Send + Sync + fmt::Debug {
    /// Waits until every change made so far, lazy ones included, is durable and in the account.
    async fn rest(&self);

    /// Ends this life in the manner under test, and opens the next on the same state. All other parts are
    /// dropped before the call.
    async fn reopen(self: Box<Self>) -> Parts;
}

/// Runs every check, each on a store opened by `make`.
pub async fn run(make: impl AsyncFn() -> Parts) {
    log::run(&make).await;
    mailbox::run(&make).await;
    page::run(&make).await;
    settle::run(&make).await;
    ends::run(&make).await;
    receipts::run(&make).await;
    topics::run(&make).await;
    subscriptions::run(&make).await;
}

/// Runs the named checks of this module, one after the other.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        /// Runs every check of this module, each on a store opened by `make`.
        pub async fn run(make: &impl AsyncFn() -> $crate::conformance::Parts) {
            $(Box::pin($check(make().await)).await;)+
        }
    };
}
use checks;
