use std::time::Duration;

use pushgrid_types::{Rng, SystemRng};

/// Pauses between the attempts of a failing operation: exponential backoff with jitter.
///
/// Each pause lies between half of the backoff and all of the backoff, so callers that failed together do not retry
/// together. The backoff is `first` after one failure, doubles with each further one, and stays at `longest`.
///
/// Guarantee: no pause is shorter than half of `first` or longer than `longest`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff before any failure.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure, and answers the pause before the next try.
    pub fn fail(&mut self) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        // Chance only spreads the tries: no caller depends on which it is, so none hands its own generator down.
        let mut octet = [0];
        SystemRng.fill(&mut octet);
        whole / 2 + whole / 2 * u32::from(octet[0]) / 255
    }

    /// Counts a failure and waits out the pause.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.fail()).await;
    }

    /// Counts a failure, logs the operation and the error, and waits out the pause.
    pub async fn wait_after(&mut self, error: &(dyn std::error::Error + Sync), what: &str) {
        let pause = self.fail();
        tracing::warn!(%error, "could not {what}; trying again in {pause:?}");
        tokio::time::sleep(pause).await;
    }

    /// Forgets the failures, after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the beginning, or since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    fn fails_within(backoff: &mut Backoff, most: u64) {
        let (pause, most) = (backoff.fail(), Duration::from_secs(most));
        assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_there() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for most in [1, 2, 4, 8, 16, 30, 30] {
            fails_within(&mut backoff, most);
        }
        for _ in 0..100 {
            fails_within(&mut backoff, 30);
        }
        assert_eq!(backoff.failures(), 107);
    }

    #[test]
    fn what_works_again_begins_with_the_first_pause() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        (0..5).for_each(|_| _ = backoff.fail());
        backoff.reset();
        fails_within(&mut backoff, 1);
        fails_within(&mut backoff, 2);
    }

    #[test]
    fn those_who_fail_together_do_not_try_together() {
        let pauses = (0..64).map(|_| Backoff::new(FIRST, LONGEST).fail());
        let different: std::collections::BTreeSet<_> = pauses.collect();
        assert!(different.len() > 8, "{different:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_is_waited_out() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let before = tokio::time::Instant::now();
        backoff.wait().await;
        assert!((FIRST / 2..=FIRST).contains(&before.elapsed().saturating_sub(Duration::from_millis(1))));
    }
}
