use std::sync::atomic::{AtomicU64, Ordering};

use pushgrid_types::Outcome;

/// The account of promise P2: what was accepted, how it ended, and what is pending. Kept by whatever makes the
/// changes durable, once they are; read by the metrics.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: AtomicU64,
    ended: [AtomicU64; Outcome::ALL.len()],
    pending: AtomicU64,
}

/// The account at one moment. It adds up whenever nothing is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSnapshot {
    /// Messages accepted, ever.
    pub accepted: u64,
    /// Messages ended, by [`Outcome::index`].
    pub ended: [u64; Outcome::ALL.len()],
    /// Messages that have not ended, counted on their own.
    pub pending: u64,
}

impl LedgerSnapshot {
    /// Messages ended, by whatever outcome.
    pub fn ended_total(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Whether every accepted message has ended or is pending.
    pub fn adds_up(&self) -> bool {
        self.accepted == self.ended_total() + self.pending
    }
}

impl Ledger {
    /// An account that goes on from `snapshot`.
    pub fn starting_at(snapshot: LedgerSnapshot) -> Self {
        Self {
            accepted: snapshot.accepted.into(),
            ended: snapshot.ended.map(AtomicU64::new),
            pending: snapshot.pending.into(),
        }
    }

    /// Enters messages that were accepted.
    pub fn accept(&self, messages: u64) {
        self.accepted.fetch_add(messages, Ordering::Relaxed);
        self.pending.fetch_add(messages, Ordering::Relaxed);
    }

    /// Enters messages that ended.
    pub fn end(&self, outcome: Outcome, messages: u64) {
        self.ended[outcome.index()].fetch_add(messages, Ordering::Relaxed);
        self.pending.fetch_sub(messages, Ordering::Relaxed);
    }

    /// The account as it stands.
    pub fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            accepted: self.accepted.load(Ordering::Relaxed),
            ended: std::array::from_fn(|index| self.ended[index].load(Ordering::Relaxed)),
            pending: self.pending.load(Ordering::Relaxed),
        }
    }
}
