//! Exponential backoff of shares given up by their owners.
//! Invariant: at most one entry for each partition. Times are passed in; nothing here waits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pushgrid_runtime::Backoff;

/// Backoff after the first failure of a share.
const FIRST: Duration = Duration::from_secs(1);
/// Longest backoff.
const LONGEST: Duration = Duration::from_secs(30);
/// Time with a share after which a failure counts as the first again.
const STEADY: Duration = Duration::from_mins(1);

/// Backoff of each share given up by its owner. Bounded by the number of partitions.
#[derive(Debug, Default)]
pub(super) struct Rests(HashMap<i32, Tries>);

#[derive(Debug)]
struct Tries {
    handed_out: Instant,
    backoff: Backoff,
}

impl Rests {
    pub(super) fn handed_out(&mut self, number: i32, now: Instant) {
        self.tries(number, now).handed_out = now;
    }

    /// Backoff of a share just given up. The shares of a router fail together; jitter spreads the retries.
    pub(super) fn next(&mut self, number: i32, now: Instant) -> Duration {
        let tries = self.tries(number, now);
        if now.duration_since(tries.handed_out) >= STEADY {
            tries.backoff.reset();
        }
        tries.backoff.fail()
    }

    fn tries(&mut self, number: i32, now: Instant) -> &mut Tries {
        self.0.entry(number).or_insert(Tries { handed_out: now, backoff: Backoff::new(FIRST, LONGEST) })
    }

    /// Forgets a share assigned to another member.
    pub(super) fn forget(&mut self, number: i32) {
        self.0.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(rest: Duration, most: u64) -> bool {
        (Duration::from_secs(most) / 2..=Duration::from_secs(most)).contains(&rest)
    }

    #[test]
    fn rests_grow_up_to_a_bound_and_each_share_has_its_own() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        for most in [1, 2, 4, 8, 16, 30, 30, 30] {
            rests.handed_out(3, now);
            assert!(within(rests.next(3, now), most), "up to {most} s");
        }
        assert!(within(rests.next(4, now), 1));
        for _ in 0..100 {
            assert!(within(rests.next(3, now), 30));
        }
    }

    #[test]
    fn an_owner_that_has_worked_begins_anew() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        for _ in 0..5 {
            rests.handed_out(3, now);
            rests.next(3, now);
        }
        rests.handed_out(3, now);
        assert!(within(rests.next(3, now + STEADY), 1));
        assert!(within(rests.next(3, now), 2));
        rests.forget(3);
        assert!(within(rests.next(3, now), 1));
    }
}
