use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which the server is left alone: enough to tell an outage from one lost connection.
const FAILURES: u32 = 5;

/// How long it is left alone before one call tries again.
const PAUSE: Duration = Duration::from_millis(250);

/// Lets calls fail at once while the server is down, instead of after their time-out.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    /// Within this time a call that tries again has ended.
    trial: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
}

impl Breaker {
    pub(crate) const fn new(trial: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), trial }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.with(|state| matches!(state, State::Open { .. }))
    }

    /// Whether a call may go. After a pause one may; the next one when that has had time to end.
    pub(crate) fn admits(&self) -> bool {
        let now = Instant::now();
        self.with(|state| match state {
            State::Closed { .. } => true,
            State::Open { until } if *until <= now => {
                *until = now + self.trial;
                true
            }
            State::Open { .. } => false,
        })
    }

    /// The server has answered. Says whether that ends an outage.
    pub(crate) fn succeeded(&self) -> bool {
        self.with(|state| match std::mem::replace(state, State::Closed { failures: 0 }) {
            State::Closed { .. } => false,
            State::Open { .. } => true,
        })
    }

    /// The server could not be asked. Says whether that begins an outage.
    pub(crate) fn failed(&self) -> bool {
        let open = State::Open { until: Instant::now() + PAUSE };
        self.with(|state| match state {
            State::Closed { failures } if *failures + 1 < FAILURES => {
                *failures += 1;
                false
            }
            State::Closed { .. } => {
                *state = open;
                true
            }
            State::Open { .. } => {
                *state = open;
                false
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Breaker {
        let breaker = Breaker::new(Duration::from_secs(2));
        let begun: Vec<_> = (0..FAILURES).map(|_| breaker.failed()).collect();
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "an outage begins once");
        assert!(breaker.is_open());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_among_failures_keeps_it_closed() {
        let breaker = Breaker::new(Duration::from_secs(2));
        for _ in 0..10 {
            (1..FAILURES).for_each(|_| assert!(!breaker.failed()));
            assert!(!breaker.succeeded());
        }
        assert!(breaker.admits() && !breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_tries_and_an_answer_closes_it() {
        let breaker = broken();
        assert!(!breaker.admits());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admits(), "one may try");
        assert!(!breaker.admits(), "and only one");
        assert!(breaker.succeeded(), "the outage has ended");
        assert!(breaker.admits() && !breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_fails_or_is_never_heard_of_again_leads_to_the_next() {
        let breaker = broken();
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admits());
        assert!(!breaker.failed(), "the outage goes on");
        assert!(!breaker.admits());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admits());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(breaker.admits(), "the last trial was dropped");
    }
}
