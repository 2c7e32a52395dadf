use std::time::Duration;

use ::metrics::Counter;
use pushgrid_types::ClockOffset;

use super::{NOTEWORTHY, seconds};

/// Detector of steps of a wall clock: movements by other than the passed time.
#[derive(Debug)]
pub(super) struct Steps {
    /// Wall clock against the uptime at the last look.
    last: ClockOffset,
    counter: Counter,
}

impl Steps {
    pub(super) fn new(wall: ClockOffset, uptime: Duration, counter: Counter) -> Self {
        Self { last: wall.minus(super::offset(uptime)), counter }
    }

    /// Counts and logs a step of a second or more since the last look.
    pub(super) fn look(&mut self, wall: ClockOffset, uptime: Duration) {
        let now = wall.minus(super::offset(uptime));
        let step = now.minus(std::mem::replace(&mut self.last, now));
        if step.abs() >= NOTEWORTHY {
            self.counter.increment(1);
            let by = seconds(step);
            tracing::warn!(
                by,
                "the wall clock of this machine was set; messages live as long as they were to"
            );
        }
    }
}
