//! Chance that is the same for the same seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Xorshift with a multiplication. Shared by the whole test, hence usable behind a shared reference.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// Next number below `bound`.
    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut next = self.0.load(Ordering::Relaxed);
        next ^= next >> 12;
        next ^= next << 25;
        next ^= next >> 27;
        self.0.store(next, Ordering::Relaxed);
        (next.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(super) fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(super) fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Yields to other tasks, a random number of times.
    pub(super) async fn wait(&self) {
        for _ in 0..self.below(4) {
            tokio::task::yield_now().await;
        }
    }
}
