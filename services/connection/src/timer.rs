use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pushgrid_session::autopush::Close;
use pushgrid_types::Rng;
use tokio::time::{Instant, Sleep, sleep};

use crate::Config;
use crate::drain::fraction;

/// How much an interval varies, so that the pings of user agents that came together do not stay together.
const JITTER: f64 = 0.1;

/// The one timer of a connection: first for the hello, then for pings and what has to come after them.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until a hello has to be there.
    Hello,
    /// Until the next ping.
    Quiet,
    /// Until anything has to have come after the ping.
    Asked {
        /// When the next ping is due, if it has.
        next: Instant,
    },
}

/// What to do when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a ping.
    Ping,
    /// Close.
    Close(Close),
}

impl Timer {
    /// Begins with the wait for the hello.
    pub(crate) fn new(config: &Config) -> Self {
        Self { sleep: Box::pin(sleep(config.hello_timeout)), phase: Phase::Hello }
    }

    /// The hello is there: from now on it is about pings.
    pub(crate) fn greeted(&mut self, config: &Config, rng: &dyn Rng) {
        self.wait(Instant::now() + jittered(config.ping_interval, rng), Phase::Quiet);
    }

    /// Something came from the user agent.
    pub(crate) fn heard(&mut self) {
        if let Phase::Asked { next } = self.phase {
            self.wait(next, Phase::Quiet);
        }
    }

    /// Ready when [`Self::due`] has something to say.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }

    /// What is due now; begins the next wait.
    pub(crate) fn due(&mut self, config: &Config, rng: &dyn Rng) -> Due {
        match self.phase {
            Phase::Hello => Due::Close(Close::HelloTimeout),
            Phase::Quiet => {
                let now = Instant::now();
                let next = now + jittered(config.ping_interval, rng);
                self.wait(now + config.pong_timeout, Phase::Asked { next });
                Due::Ping
            }
            Phase::Asked { .. } => Due::Close(Close::NoPong),
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
        assert_eq!((after.as_secs(), due), (5, Due::Close(Close::HelloTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_come_at_the_interval_give_or_take_a_tenth() {
        let config = testing::config(&[]);
        let mut timer = Timer::new(&config);
        timer.greeted(&config, &SystemRng);
        for _ in 0..50 {
            let (after, due) = next(&mut timer, &config).await;
            assert_eq!(due, Due::Ping);
            assert!((270..=330).contains(&after.as_secs()), "{after:?}");
            timer.heard();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_ping_is_closed() {
        let config = testing::config(&[]);
        let mut timer = Timer::new(&config);
        timer.greeted(&config, &SystemRng);
        timer.heard();
        assert_eq!(next(&mut timer, &config).await.1, Due::Ping);
        let (after, due) = next(&mut timer, &config).await;
        assert_eq!((after.as_secs(), due), (10, Due::Close(Close::NoPong)));
    }
}
