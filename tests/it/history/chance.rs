//! Random choices that one number decides.

use std::time::Duration;

use pushgrid_types::{Rng as _, SystemRng};

/// Where the seed of a run can be set, to make its choices again.
const SEED: &str = "PUSHGRID_TEST_SEED";

/// A generator (`SplitMix64`): good enough to choose, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run.
    pub(crate) fn seed() -> u64 {
        std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let mut octets = [0; 8];
            SystemRng.fill(&mut octets);
            u64::from_le_bytes(octets)
        })
    }

    /// Another generator, for somebody else.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True this often in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time from `least` milliseconds up to `most`.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
