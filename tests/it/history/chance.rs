//! Random choices, reproducible by a seed.

use std::time::Duration;

use pushgrid_types::{Rng as _, SystemRng};

/// Variable with the seed of a run, for the same choices again.
const SEED: &str = "PUSHGRID_TEST_SEED";

/// Generator (`SplitMix64`), the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Seed of this run.
    pub(crate) fn seed() -> u64 {
        std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let mut octets = [0; 8];
            SystemRng.fill(&mut octets);
            u64::from_le_bytes(octets)
        })
    }

    /// Splits off an independent generator.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// Number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in `percent` of a hundred calls.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Duration from `least` to `most` milliseconds.
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
