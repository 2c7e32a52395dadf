//! The account of promise P2: accepted, ended by outcome, and pending.
//!
//! Invariant: entries are made only after the change is durable, so an account that does not add up at rest
//! shows a lost or invented message. Export as metrics is not done here.

use std::sync::atomic::{AtomicU64, Ordering};

use pushgrid_types::Outcome;

/// The account of promise P2: accepted messages, ended ones by outcome, and pending ones. Kept by the adapter
/// that makes the changes durable, after each change; read by the metrics.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: AtomicU64,
    ended: [AtomicU64; Outcome::ALL.len()],
    pending: AtomicU64,
}

/// The account at one moment. Adds up whenever no change is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSnapshot {
    /// Messages accepted, ever.
    pub accepted: u64,
    /// Messages ended, by [`Outcome::index`].
    pub ended: [u64; Outcome::ALL.len()],
    /// Messages that have not ended, counted independently.
    pub pending: u64,
}

impl LedgerSnapshot {
    /// Messages ended, by any outcome.
    pub fn ended_total(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// True when every accepted message has ended or is pending.
    pub fn adds_up(&self) -> bool {
        self.accepted == self.ended_total() + self.pending
    }
}

impl Ledger {
    /// An account that continues from `snapshot`.
    pub fn starting_at(snapshot: LedgerSnapshot) -> Self {
        Self {
            accepted: snapshot.accepted.into(),
            ended: snapshot.ended.map(AtomicU64::new),
            pending: snapshot.pending.into(),
        }
    }

    /// Enters accepted messages.
    pub fn accept(&self, messages: u64) {
        self.accepted.fetch_add(messages, Ordering::Relaxed);
        self.pending.fetch_add(messages, Ordering::Relaxed);
    }

    /// Enters ended messages.
    pub fn end(&self, outcome: Outcome, messages: u64) {
        self.ended[outcome.index()].fetch_add(messages, Ordering::Relaxed);
        self.pending.fetch_sub(messages, Ordering::Relaxed);
    }

    /// The account as of now. Entries under way may be in one number and not yet in another.
    pub fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            accepted: self.accepted.load(Ordering::Relaxed),
            ended: std::array::from_fn(|index| self.ended[index].load(Ordering::Relaxed)),
            pending: self.pending.load(Ordering::Relaxed),
        }
    }
}
