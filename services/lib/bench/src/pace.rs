//! Timing of posts: a schedule at a fixed rate, or none.
//!
//! Invariant: the schedule never waits for answers, so a slow server does not slow the load down.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pushgrid_types::cast::fitting;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::limits;

/// Rate at which messages are posted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    /// Unlimited: each sender posts again after the answer.
    Max,
    /// Messages a second, independent of answers.
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rate = text.parse().ok().filter(|rate| limits::RATE.contains(rate));
        rate.map(Self::PerSecond).ok_or_else(|| "messages a second, up to 100000, or max".to_owned())
    }
}

/// The schedule: gives each message its due instant.
///
/// A thread of its own keeps the time and hands out permits: the runtime's timers wake to the millisecond, a large
/// part of the latency to be measured.
pub(super) struct Pace {
    permits: Option<Arc<Semaphore>>,
    started: Instant,
    gap: Duration,
}

impl Pace {
    /// Begins now. Message `number` is due `number / rate` seconds later, for all numbers below `count`.
    pub(super) fn start(rate: Rate, count: u64, started: Instant) -> Self {
        let Rate::PerSecond(rate) = rate else {
            return Self { permits: None, started, gap: Duration::ZERO };
        };
        let gap = Duration::from_secs_f64(1.0 / rate);
        let permits = Arc::new(Semaphore::new(0));
        let given = Arc::clone(&permits);
        thread::spawn(move || {
            for number in 0..count {
                let wait = due(started, gap, number).saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    thread::sleep(wait);
                }
                // Only this thread and the pace itself hold the permits: the run has ended.
                if Arc::strong_count(&given) == 1 {
                    return;
                }
                given.add_permits(1);
            }
            // No sender waits for ever: each gets a turn to see that no message is left.
            given.add_permits(fitting::<usize>(*limits::PARALLEL.end()));
        });
        Self { permits: Some(permits), started, gap }
    }

    /// Waits until a message is due. Up to [`limits::PARALLEL`] senders may wait, and after the last message none
    /// does. Returns at once without a rate.
    pub(super) async fn next(&self) {
        if let Some(permits) = &self.permits {
            permits.acquire().await.expect("it is never closed").forget();
        }
    }

    /// The instant at which message `number` is due.
    pub(super) fn due(&self, number: u64) -> Instant {
        if self.permits.is_some() { due(self.started, self.gap, number) } else { Instant::now() }
    }
}

fn due(started: Instant, gap: Duration, number: u64) -> Instant {
    started + gap.mul_f64(u32::try_from(number).map_or(f64::from(u32::MAX), f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("200".parse(), Ok(Rate::PerSecond(200.0)));
        for bad in ["", "0", "-1", "NaN", "inf", "fast", "100001"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn every_message_gets_its_turn_and_none_before_it_is_due() {
        let started = Instant::now();
        let pace = Pace::start(Rate::PerSecond(1000.0), 20, started);
        for number in 0..20 {
            pace.next().await;
            assert!(Instant::now() >= pace.due(number));
            assert_eq!(pace.due(number), started + Duration::from_millis(number));
        }
    }
}
