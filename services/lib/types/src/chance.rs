use std::fmt;

/// Source of random octets: passed in, so that a simulation can choose them.
///
/// Guarantee: unpredictable octets from the production implementation; identifiers are capabilities.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills the whole of `into`.
    fn fill(&self, into: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
    fn fill(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("the operating system always has random octets once it has booted");
    }
}

/// An array of random octets.
pub(crate) fn octets<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut octets = [0; N];
    rng.fill(&mut octets);
    octets
}
