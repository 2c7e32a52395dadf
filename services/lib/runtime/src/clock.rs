//! The clocks of a process: the time by which messages are stamped and judged, and the quality of the wall clock.
//!
//! A message carries one absolute expiry, and is often judged by another process than the one that stamped it, or by
//! the same one after a restart. A wall clock may be wrong, or be set, and would end a message early or keep one too
//! long. So nothing is judged by a wall clock:
//!
//! - [`SteadyClock`] moves with the time since the machine was started, and with nothing else.
//! - [`LocalTime`] is for a standalone process: the steady clock, and the state with which the next life of the
//!   process goes on.
//! - [`GridTime`] is for a member of a grid: the steady clock, brought into agreement with all others.
//!
//! Both let the steady clock run up to a thousandth faster or slower, until the time of day is reached.
//!
//! Invariant: while a process lives, no step of a wall clock makes the steady clock step.

mod grid;
mod local;
mod reference;
mod samples;
mod steady;
mod steps;

pub use grid::{Exchange, GridTime};
pub use local::LocalTime;
pub use steady::{BootTime, ManualUptime, SteadyClock, Uptime};

use std::time::Duration;

use pushgrid_types::ClockOffset;
use pushgrid_types::cast::saturating;

/// Interval between two looks at the wall clock.
pub const LOOK: Duration = Duration::from_millis(500);

/// Smallest difference of clocks to be logged.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// Divisor of the passed time that bounds a slew: a steady clock runs at most a thousandth faster or slower.
const SLEW: u32 = 1000;

/// Longest passed time for one slew to make up.
const SLEW_OVER: Duration = Duration::from_secs(10);

/// Shift of a clock that is `distance` behind, `elapsed` after the last shift.
fn slew(distance: ClockOffset, elapsed: Duration) -> ClockOffset {
    distance.at_most(elapsed.min(SLEW_OVER) / SLEW)
}

/// Seconds with a sign, for a line of the log.
fn seconds(offset: ClockOffset) -> String {
    format!("{:+.3} s", offset.as_secs_f64())
}

/// An instant as an offset from 1970, or a time since a start as an offset from that start.
fn offset(since: Duration) -> ClockOffset {
    ClockOffset::from_micros(saturating::<i64>(since.as_micros()))
}
