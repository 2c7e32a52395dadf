use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Appends in a row that have to time out before the next ones are refused at once.
const PATIENCE: u32 = 5;
/// While it is open, one append is let through in each such time, to see whether it still is.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether appends are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// One a second: the others are refused at once.
    Open,
}

/// Refuses appends at once while none of them succeeds, so that nobody waits for what will not happen.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    failures: u32,
    /// When the next one is let through, while it is open.
    next: Option<Instant>,
}

impl Breaker {
    /// Whether an append may be tried.
    pub(crate) fn admit(&self) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = inner.next else { return true };
        let now = Instant::now();
        if now < next {
            return false;
        }
        inner.next = Some(now + PAUSE);
        true
    }

    pub(crate) fn succeeded(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    pub(crate) fn timed_out(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failures = inner.failures.saturating_add(1);
        if inner.failures >= PATIENCE && inner.next.is_none() {
            inner.next = Some(Instant::now() + PAUSE);
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.inner.lock().unwrap_or_else(PoisonError::into_inner).next {
            None => BreakerState::Closed,
            Some(_) => BreakerState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Breaker {
        let breaker = Breaker::default();
        (0..PATIENCE).for_each(|_| breaker.timed_out());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_enough_time_outs_in_a_row_and_not_before() {
        let breaker = Breaker::default();
        (1..PATIENCE).for_each(|_| breaker.timed_out());
        breaker.succeeded();
        (1..PATIENCE).for_each(|_| breaker.timed_out());
        assert!(breaker.admit());
        breaker.timed_out();
        assert_eq!((breaker.state(), breaker.admit()), (BreakerState::Open, false));
    }

    #[tokio::test(start_paused = true)]
    async fn lets_one_through_in_each_pause_and_closes_when_it_succeeds() {
        let breaker = open();
        tokio::time::advance(PAUSE).await;
        assert_eq!((breaker.admit(), breaker.admit()), (true, false));
        // The trial was given up by its caller: nothing hangs on its answer.
        tokio::time::advance(PAUSE).await;
        assert_eq!((breaker.admit(), breaker.admit()), (true, false));
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.admit()), (BreakerState::Closed, true));
    }
}
