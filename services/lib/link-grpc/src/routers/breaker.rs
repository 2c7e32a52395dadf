use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::metrics::Gauge;
use pushgrid_runtime::metrics::{BREAKER_OPEN, Meter};
use tokio::time::Instant;

/// Keeps calls from a router that could not be reached several times in a row: they fail at once for a pause, then one
/// is let through to see.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    pause: Duration,
    state: Mutex<State>,
    open: Arc<Open>,
}

/// How many breakers before routers let nothing through.
#[derive(Debug)]
pub(super) struct Open {
    count: Mutex<u32>,
    gauge: Gauge,
}

impl Open {
    pub(super) fn new(meter: &Meter) -> Arc<Self> {
        let gauge = meter.gauge(&BREAKER_OPEN, &[("dependency", "router")]);
        Arc::new(Self { count: Mutex::new(0), gauge })
    }

    fn change(&self, by: impl FnOnce(u32) -> u32) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = by(*count);
        self.gauge.set(f64::from(u8::from(*count > 0)));
    }
}

#[derive(Debug)]
enum State {
    /// Calls pass. So many have failed since the last that did not, each begun after the one before had failed: one
    /// broken connection that many calls were on is one failure.
    Closed { failures: u32, last: Option<Instant> },
    /// Calls fail at once, until then.
    Open { until: Instant },
    /// One call is under way that decides.
    Probing,
}

const CLOSED: State = State::Closed { failures: 0, last: None };

/// The right to one call. Dropped without a word, the call decides nothing.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    at: Instant,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// Opens after `threshold` failures in a row, for `pause`, and is then counted in `open`.
    pub(super) fn new(threshold: u32, pause: Duration, open: Arc<Open>) -> Self {
        Self { threshold, pause, state: Mutex::new(CLOSED), open }
    }

    /// `None`: not now.
    pub(super) fn admit(&self, now: Instant) -> Option<Admission<'_>> {
        let mut state = self.lock();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Admission { breaker: self, at: now, probe, told: false })
    }

    /// No code panics while it holds the lock, so what a poisoned one guards is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closes(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Closed { .. }) {
            self.open.change(|count| count - 1);
        }
        *state = CLOSED;
    }

    fn fails(&self, at: Instant, now: Instant, probe: bool) {
        let mut state = self.lock();
        match &mut *state {
            State::Closed { failures, last } if last.is_none_or(|last| at >= last) => {
                *failures += 1;
                *last = Some(now);
                if *failures >= self.threshold {
                    *state = State::Open { until: now + self.pause };
                    self.open.change(|count| count + 1);
                }
            }
            State::Probing if probe => *state = State::Open { until: now + self.pause },
            // One that was admitted before the failure that counts.
            State::Closed { .. } | State::Open { .. } | State::Probing => {}
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.closes();
    }
}

impl Admission<'_> {
    /// The router has answered.
    pub(super) fn reached(mut self) {
        self.told = true;
        self.breaker.closes();
    }

    /// It could not be reached.
    pub(super) fn not_reached(mut self, now: Instant) {
        self.told = true;
        self.breaker.fails(self.at, now, self.probe);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            let mut state = self.breaker.lock();
            if matches!(*state, State::Probing) {
                *state = State::Open { until: Instant::now() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, impl Fn() -> bool) {
        let meter = Meter::new();
        let open = Open::new(&meter);
        let shunned = move || meter.render().contains("pushgrid_breaker_open{dependency=\"router\"} 1");
        (Breaker::new(3, PAUSE, open), shunned)
    }

    fn fail(breaker: &Breaker, now: Instant, times: u32) {
        for _ in 0..times {
            breaker.admit(now).unwrap().not_reached(now);
        }
    }

    #[test]
    fn after_some_failures_in_a_row_nothing_passes_until_the_pause_is_over() {
        let ((breaker, shunned), now) = (breaker(), Instant::now());
        fail(&breaker, now, 2);
        breaker.admit(now).unwrap().reached();
        fail(&breaker, now, 2);
        assert!(breaker.admit(now).is_some() && !shunned());
        fail(&breaker, now, 1);
        assert!(breaker.admit(now).is_none() && shunned());
        assert!(breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn many_calls_on_one_broken_connection_are_one_failure() {
        let ((breaker, _), now) = (breaker(), Instant::now());
        let calls: Vec<_> = (0..10).map(|_| breaker.admit(now).unwrap()).collect();
        for call in calls {
            call.not_reached(now + PAUSE);
        }
        assert!(breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn after_the_pause_one_call_decides() {
        let ((breaker, shunned), now) = (breaker(), Instant::now());
        fail(&breaker, now, 3);
        let later = now + PAUSE;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_none(), "a second one while the first is under way");
        probe.not_reached(later);
        assert!(breaker.admit(later).is_none() && shunned());
        breaker.admit(later + PAUSE).unwrap().reached();
        assert!(breaker.admit(later + PAUSE).is_some() && !shunned());
    }

    #[test]
    fn a_call_that_is_given_up_makes_room_for_another_that_decides() {
        let ((breaker, _), now) = (breaker(), Instant::now());
        fail(&breaker, now, 3);
        let later = now + PAUSE;
        drop(breaker.admit(later).unwrap());
        assert!(breaker.admit(later.max(Instant::now())).is_some());
    }

    #[test]
    fn a_router_that_is_forgotten_is_not_shunned() {
        let ((breaker, shunned), now) = (breaker(), Instant::now());
        fail(&breaker, now, 3);
        drop(breaker);
        assert!(!shunned());
    }
}
