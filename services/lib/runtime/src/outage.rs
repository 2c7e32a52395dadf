//! Outages in the log: one line at the begin of a failure, and one at its end.
//!
//! Invariant: a success without an outage costs one relaxed load. Whether to call at all is a breaker's to decide.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time without a failure before an outage is over: failures by turns are one outage.
const QUIET: Duration = Duration::from_secs(10);

/// Log of a dependency's outages: one line for the first failure, and one when the dependency works again.
#[derive(Debug)]
pub struct Outage {
    /// Description of the operation; completes "could not".
    what: &'static str,
    quiet: Duration,
    /// Spares successes the lock while there is no outage.
    going_on: AtomicBool,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    failures: u64,
    last: Instant,
}

impl Outage {
    /// A log without an outage. `what` completes "could not".
    pub fn new(what: &'static str) -> Self {
        Self { what, quiet: QUIET, going_on: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Counts a failure. True for the first of an outage, which is logged.
    pub fn failed(&self, error: &(dyn Error + 'static)) -> bool {
        let mut state = self.state.lock();
        let begins = state.is_none();
        let state = state.get_or_insert_with(|| State { failures: 0, last: Instant::now() });
        state.failures += 1;
        state.last = Instant::now();
        self.going_on.store(true, Ordering::Relaxed);
        if begins {
            tracing::warn!(error, "could not {}; this is not repeated", self.what);
        }
        begins
    }

    /// To be called at each success. True when the success ends an outage.
    pub fn worked(&self) -> bool {
        self.going_on.load(Ordering::Relaxed) && self.end()
    }

    fn end(&self) -> bool {
        let mut state = self.state.lock();
        let over = state.take_if(|state| state.last.elapsed() >= self.quiet);
        if let Some(over) = &over {
            self.going_on.store(false, Ordering::Relaxed);
            tracing::info!(failures = over.failures, "could {} again", self.what);
        }
        over.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_outage_begins_once_and_ends_once() {
        let error = io::Error::other("full");
        let mut outage = Outage::new("test");
        assert!(!outage.worked(), "there was none");
        assert!(outage.failed(&error));
        assert!(!outage.failed(&error));
        assert!(!outage.worked(), "it may be back in a moment");
        assert!(!outage.failed(&error), "as it is here");
        outage.quiet = Duration::ZERO;
        assert!(outage.worked());
        assert!(!outage.worked(), "that is over");
        assert!(outage.failed(&error), "and this is another one");
    }
}
