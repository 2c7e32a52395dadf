//! Rate limit for the pings of one user agent: a token bucket in one instant.
//!
//! Invariant: no timer and no counter runs while no ping comes, and a clock that steps back refuses nobody.

use std::time::Duration;

use pushgrid_types::Timestamp;

/// Rate at which a user agent may ping: a bucket of `burst` pings, refilled by one every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingAllowance {
    /// Pings that may come at once.
    pub burst: u32,
    /// Time until one more ping is allowed; zero allows any number.
    pub every: Duration,
}

/// The bucket of one connection, as the one instant at which it is full again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pings {
    full_at: Timestamp,
}

impl Pings {
    /// Counts a ping; `false` when it is one too many.
    pub(super) fn allow(&mut self, now: Timestamp, allowance: &PingAllowance) -> bool {
        let whole = allowance.every.saturating_mul(allowance.burst);
        let missing = self.full_at.since(now);
        // More than the whole bucket cannot be missing: the clock has stepped back, and the count begins anew.
        let missing = if missing > whole { Duration::ZERO } else { missing };
        let after = missing + allowance.every;
        if after > whole && !allowance.every.is_zero() {
            return false;
        }
        self.full_at = now.plus(after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const ALLOWANCE: PingAllowance = PingAllowance { burst: 3, every: Duration::from_secs(2) };

    // Holds: H-14.
    #[test]
    fn a_burst_is_tolerated_and_a_flood_is_not() {
        let mut pings = Pings::default();
        let answers: Vec<_> = (0..5).map(|_| pings.allow(NOW, &ALLOWANCE)).collect();
        assert_eq!(answers, [true, true, true, false, false]);
        assert!(pings.allow(NOW.plus(Duration::from_secs(2)), &ALLOWANCE));
        assert!(!pings.allow(NOW.plus(Duration::from_secs(2)), &ALLOWANCE));
    }

    #[test]
    fn a_ping_at_every_interval_is_tolerated_for_ever() {
        let mut pings = Pings::default();
        for count in 0..1000 {
            assert!(pings.allow(NOW.plus(Duration::from_secs(2 * count)), &ALLOWANCE));
        }
    }

    #[test]
    fn a_clock_that_steps_back_closes_nobody() {
        let mut pings = Pings::default();
        for _ in 0..3 {
            pings.allow(NOW, &ALLOWANCE);
        }
        assert!(pings.allow(Timestamp::from_secs(1_600_000_000), &ALLOWANCE));
    }

    #[test]
    fn an_interval_of_zero_allows_any_number() {
        let mut pings = Pings::default();
        let any = PingAllowance { burst: 1, every: Duration::ZERO };
        assert!((0..1000).all(|_| pings.allow(NOW, &any)));
    }
}
