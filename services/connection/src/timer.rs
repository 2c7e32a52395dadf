//! The timer of a connection: the time limit for the user agent's hello, and the probes after it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pushgrid_types::{CloseReason, Rng};
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Config;
use crate::jitter::fraction;

/// Share by which an interval varies, to spread the probes of user agents connected at the same time.
const JITTER: f64 = 0.1;

/// The one timer of a connection: first for the hello of the user agent, then for probes and the input due
/// after each.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until the time limit for the hello.
    Unidentified,
    /// Until the next probe.
    Quiet,
    /// Until anything has to have come after the probe.
    Asked {
        /// Instant of the next probe; `None` without probes.
        next: Instant,
    },
}

/// Action when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask whether the user agent is there.
    Probe,
    /// End the connection.
    End(CloseReason),
}

impl Timer {
    /// Begins with the wait for the hello.
    pub(crate) fn new(config: &Config) -> Self {
        Self { sleep: Box::pin(sleep(config.hello_timeout)), phase: Phase::Unidentified }
    }

    /// Ends the wait for the hello, and begins the probes.
    pub(crate) fn identified(&mut self, config: &Config, rng: &dyn Rng) {
        self.wait(Instant::now() + jittered(config.ping_interval, rng), Phase::Quiet);
    }

    /// Something came from the user agent.
    pub(crate) fn alive(&mut self) {
        if let Phase::Asked { next } = self.phase {
            self.wait(next, Phase::Quiet);
        }
    }

    /// Ready when [`Self::due`] has something to say.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }

    /// Answers the action due now, and begins the next wait.
    pub(crate) fn due(&mut self, config: &Config, rng: &dyn Rng) -> Due {
        match self.phase {
            Phase::Unidentified => Due::End(CloseReason::Unidentified),
            Phase::Quiet => {
                let now = Instant::now();
                let next = now + jittered(config.ping_interval, rng);
                self.wait(now + config.pong_timeout, Phase::Asked { next });
                Due::Probe
            }
            Phase::Asked { .. } => Due::End(CloseReason::Idle),
        }
    }

    fn wait(&mut self, until: Instant, phase: Phase) {
        self.sleep.as_mut().reset(until);
        self.phase = phase;
    }
}

/// A tenth more or less.
fn jittered(interval: Duration, rng: &dyn Rng) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fraction(rng))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use pushgrid_types::SystemRng;

    use super::*;
    use crate::testing;

    async fn next(timer: &mut Timer, config: &Config) -> (Duration, Due) {
        let start = Instant::now();
        poll_fn(|cx| timer.poll(cx)).await;
        (start.elapsed(), timer.due(config, &SystemRng))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_instead_of_a_hello_is_closed() {
        let config = testing::config(&[]);
        let mut timer = Timer::new(&config);
        let (after, due) = next(&mut timer, &config).await;
        assert_eq!((after.as_secs(), due), (5, Due::End(CloseReason::Unidentified)));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_come_at_the_interval_give_or_take_a_tenth() {
        let config = testing::config(&[]);
        let mut timer = Timer::new(&config);
        timer.identified(&config, &SystemRng);
        for _ in 0..50 {
            let (after, due) = next(&mut timer, &config).await;
            assert_eq!(due, Due::Probe);
            assert!((270..=330).contains(&after.as_secs()), "{after:?}");
            timer.alive();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_ping_is_closed() {
        let config = testing::config(&[]);
        let mut timer = Timer::new(&config);
        timer.identified(&config, &SystemRng);
        timer.alive();
        assert_eq!(next(&mut timer, &config).await.1, Due::Probe);
        let (after, due) = next(&mut timer, &config).await;
        assert_eq!((after.as_secs(), due), (10, Due::End(CloseReason::Idle)));
    }
}
