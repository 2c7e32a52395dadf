//! Measurements of the lease keeper's clock against the uptime.
//!
//! Invariant: of the last measurements the one with the shortest round trip counts, until one contradicts it.

use std::collections::VecDeque;
use std::time::Duration;

use pushgrid_types::ClockOffset;

use super::offset;

/// Number of measurements among which the best is chosen.
const WINDOW: usize = 8;

/// Largest difference of two measurements beyond their errors: the drift of clocks in a window.
const DRIFT: Duration = Duration::from_millis(10);

/// Uptime of this process against the clock of the lease keeper, with the largest error of that difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) base: ClockOffset,
    pub(super) error: Duration,
}

/// The last measurements. The one with the shortest round trip counts.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<Sample>);

impl Sample {
    /// A measurement from the uptimes of question and answer, and the keeper's time in between.
    pub(super) fn of(sent: Duration, received: Duration, keeper: Duration) -> Self {
        let error = received.saturating_sub(sent) / 2;
        Self { base: offset(sent + error).minus(offset(keeper)), error }
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.base.minus(other.base).abs() <= self.error + other.error + DRIFT
    }
}

impl Samples {
    /// Takes a measurement in, and returns the best of the last. A measurement that contradicts the best begins the
    /// window anew: a clock has been set, or the keeper is another.
    pub(super) fn add(&mut self, new: Sample) -> Sample {
        if self.best().is_some_and(|best| !new.agrees_with(&best)) {
            self.0.clear();
        }
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(new);
        self.best().unwrap_or(new)
    }

    fn best(&self) -> Option<Sample> {
        self.0.iter().min_by_key(|sample| sample.error).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn half_of_the_round_trip_is_the_error() {
        let sample = Sample::of(millis(1000), millis(1010), millis(400));
        assert_eq!(sample, Sample { base: ClockOffset::from_micros(605_000), error: millis(5) });
    }

    #[test]
    fn the_shortest_round_trip_of_the_last_counts() {
        let mut samples = Samples::default();
        let long = Sample::of(millis(1000), millis(1100), millis(440));
        let short = Sample::of(millis(2000), millis(2002), millis(1401));
        assert_eq!(samples.add(long), long);
        assert_eq!(samples.add(short), short);
        for _ in 0..WINDOW - 1 {
            assert_eq!(samples.add(long), short);
        }
        assert_eq!(samples.add(long), long, "it is too old");
    }

    #[test]
    fn a_keeper_with_another_clock_is_believed_at_once() {
        let mut samples = Samples::default();
        samples.add(Sample::of(millis(2000), millis(2002), millis(1401)));
        let other = Sample::of(millis(3000), millis(3050), millis(9_000_000));
        assert_eq!(samples.add(other), other);
    }
}
