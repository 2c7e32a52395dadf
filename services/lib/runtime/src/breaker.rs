use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets calls of something that is down fail at once, instead of each after its time-out.
///
/// Guarantee: while it is open one call is let through in each pause, so that it closes by itself. A caller that never
/// says how its call went does no harm.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    failures: u32,
    pause: Duration,
    /// Within this time a call that tries again has ended.
    trial: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
}

impl Breaker {
    /// Opens after so many `failures` in a row, enough to tell an outage from one lost connection. Then one call may try
    /// after each `pause`, and another when that has had the time `trial` to end.
    pub const fn new(failures: u32, pause: Duration, trial: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), failures, pause, trial }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether calls fail at once.
    pub fn is_open(&self) -> bool {
        self.with(|state| matches!(state, State::Open { .. }))
    }

    /// Whether a call may go. After a pause one may; the next one when that has had time to end.
    pub fn admits(&self) -> bool {
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

    /// A call was answered. Says whether that ends an outage.
    pub fn succeeded(&self) -> bool {
        self.with(|state| match std::mem::replace(state, State::Closed { failures: 0 }) {
            State::Closed { .. } => false,
            State::Open { .. } => true,
        })
    }

    /// A call was not answered. Says whether that begins an outage.
    pub fn failed(&self) -> bool {
        let open = State::Open { until: Instant::now() + self.pause };
        self.with(|state| match state {
            State::Closed { failures } if *failures + 1 < self.failures => {
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

    const FAILURES: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(250);

    fn broken() -> Breaker {
        let breaker = Breaker::new(FAILURES, PAUSE, Duration::from_secs(2));
        let begun: Vec<_> = (0..FAILURES).map(|_| breaker.failed()).collect();
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "an outage begins once");
        assert!(breaker.is_open());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_among_failures_keeps_it_closed() {
        let breaker = Breaker::new(FAILURES, PAUSE, Duration::from_secs(2));
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
