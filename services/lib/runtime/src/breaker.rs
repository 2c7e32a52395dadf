use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Circuit breaker: lets calls of a dependency that is down fail at once, not each after a time-out.
///
/// Guarantee: an open breaker lets one call at a time through after each pause, and so closes by itself. A caller
/// that never reports the result of a call does no harm.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    failures: u32,
    pause: Duration,
    in_turn: bool,
}

#[derive(Debug)]
enum State {
    /// Calls pass. So many in a row have failed, the last one then.
    Closed { failures: u32, last: Option<Instant> },
    /// Calls fail at once, until then.
    Open { until: Instant },
    /// One deciding call is under way; others fail at once.
    Probing,
}

const CLOSED: State = State::Closed { failures: 0, last: None };

/// The right to one call, which has to end in some time. Dropped without a result, the right decides nothing.
#[derive(Debug)]
#[must_use = "a call whose end is not told decides nothing"]
pub struct Admission<'a> {
    breaker: &'a Breaker,
    at: Instant,
    is_probe: bool,
}

impl Breaker {
    /// Opens after so many `failures` in a row, enough to tell an outage from one lost connection, for `pause`.
    pub const fn new(failures: u32, pause: Duration) -> Self {
        Self { state: Mutex::new(CLOSED), failures, pause, in_turn: false }
    }

    /// Counts only failures of calls that began after the failure before: one broken connection under many calls is
    /// then one failure.
    #[must_use]
    pub const fn counting_in_turn(mut self) -> Self {
        self.in_turn = true;
        self
    }

    /// True while calls fail at once.
    pub fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    /// Lets a call go; `None`: not now.
    pub fn admit(&self) -> Option<Admission<'_>> {
        let at = Instant::now();
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if at >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Admission { breaker: self, at, is_probe })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Admission<'_> {
    /// Records an answered call. True if this ends an outage.
    pub fn succeeded(self) -> bool {
        let was = std::mem::replace(&mut *self.breaker.lock(), CLOSED);
        !matches!(was, State::Closed { .. })
    }

    /// Records an unanswered call. True if this begins an outage.
    pub fn failed(self) -> bool {
        let Breaker { failures: most, pause, in_turn, .. } = *self.breaker;
        let now = Instant::now();
        let mut state = self.breaker.lock();
        match &mut *state {
            State::Closed { failures, last } if !in_turn || last.is_none_or(|last| self.at >= last) => {
                *failures += 1;
                *last = Some(now);
                let begins = *failures >= most;
                if begins {
                    *state = State::Open { until: now + pause };
                }
                begins
            }
            State::Probing if self.is_probe => {
                *state = State::Open { until: now + pause };
                false
            }
            // One that was admitted before the failure that counts.
            State::Closed { .. } | State::Open { .. } | State::Probing => false,
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            let mut state = self.breaker.lock();
            // Only of a probe that has not decided; there is one at a time.
            if matches!(*state, State::Probing) {
                *state = State::Open { until: Instant::now() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(250);

    fn fail(breaker: &Breaker, times: u32) -> usize {
        (0..times).filter(|_| breaker.admit().unwrap().failed()).count()
    }

    fn broken() -> Breaker {
        let breaker = Breaker::new(FAILURES, PAUSE);
        assert_eq!(fail(&breaker, FAILURES), 1, "an outage begins once");
        assert!(breaker.is_open() && breaker.admit().is_none());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_among_failures_keeps_it_closed() {
        let breaker = Breaker::new(FAILURES, PAUSE);
        for _ in 0..10 {
            assert_eq!(fail(&breaker, FAILURES - 1), 0);
            assert!(!breaker.admit().unwrap().succeeded());
        }
        assert!(breaker.admit().is_some() && !breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_tries_and_an_answer_closes_it() {
        let breaker = broken();
        tokio::time::advance(PAUSE).await;
        let probe = breaker.admit().expect("one may try");
        assert!(breaker.admit().is_none(), "and only one");
        assert!(probe.succeeded(), "the outage has ended");
        assert!(breaker.admit().is_some() && !breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_leads_to_the_next_after_a_pause() {
        let breaker = broken();
        tokio::time::advance(PAUSE).await;
        assert!(!breaker.admit().unwrap().failed(), "the outage goes on");
        assert!(breaker.admit().is_none() && breaker.is_open());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admit().unwrap().succeeded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_makes_room_for_another_that_decides() {
        let breaker = broken();
        tokio::time::advance(PAUSE).await;
        drop(breaker.admit().unwrap());
        assert!(breaker.is_open());
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_none());
        assert!(probe.succeeded());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_under_way_before_an_outage_do_not_lengthen_it_and_may_end_it() {
        let breaker = Breaker::new(FAILURES, PAUSE);
        let (late, later) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        fail(&breaker, FAILURES);
        tokio::time::advance(PAUSE).await;
        let probe = breaker.admit().unwrap();
        assert!(!late.failed());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.admit().is_none(), "the probe decides");
        assert!(later.succeeded() && !breaker.is_open());
        assert!(!probe.failed() && !breaker.is_open(), "one failure of many");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_turn_are_counted_once_for_calls_that_were_under_way_together() {
        let (each, in_turn) =
            (Breaker::new(FAILURES, PAUSE), Breaker::new(FAILURES, PAUSE).counting_in_turn());
        for (breaker, opens) in [(each, true), (in_turn, false)] {
            let calls: Vec<_> = (0..10).map(|_| breaker.admit().unwrap()).collect();
            tokio::time::advance(PAUSE).await;
            for call in calls {
                let _ = call.failed();
            }
            assert_eq!(breaker.is_open(), opens);
            if !opens {
                assert_eq!(fail(&breaker, FAILURES - 1), 1);
            }
        }
    }
}
