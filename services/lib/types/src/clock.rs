//! The time of the services: instants, offsets between clocks, and the clocks passed in.
//!
//! Invariant: `now` of a [`Clock`] and `wall` of a [`WallClock`] are two questions of two types, so that no TTL is
//! judged by a wall clock. The clocks of production are in the runtime; here are only the machine's and the one of
//! tests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cast::saturating;

/// An instant in whole milliseconds since 1970. Compared only with others of one clock, or of clocks that agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since 1970.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Time from `earlier` until this instant; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved into the future; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(saturating::<u64>(duration.as_millis())))
    }
}

/// Lead of one clock over another, in microseconds; negative when the clock is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClockOffset(i64);

impl ClockOffset {
    /// No difference.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds, for a person or a metric.
    #[expect(clippy::cast_precision_loss, reason = "microseconds are exact in a double for 285 years")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The distance, in whichever direction.
    pub const fn abs(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }

    /// The sum of two offsets; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The offset from `other` to this one; saturates.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This offset, or the nearest within `limit` of zero.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        let limit = saturating::<i64>(limit.as_micros());
        Self(self.0.clamp(-limit, limit))
    }
}

/// The clocks of one member of a grid, each against the clock of the keeper of leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockVote {
    /// The steady clock, by which the member judges messages.
    pub judged: ClockOffset,
    /// The wall clock of the member's machine.
    pub wall: ClockOffset,
}

/// The state from which the next life of a process goes on with the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTime {
    /// Name of the run of the machine (`boot_id`) in which the state holds; empty when the run has no name.
    pub boot: String,
    /// Difference between the steady clock and the uptime.
    pub shift: ClockOffset,
    /// Lead of the steady clock over the wall clock.
    pub ahead: ClockOffset,
    /// The last known instant of the steady clock.
    pub seen: Timestamp,
}

/// The time by which messages are stamped and judged: passed in, so that tests and a simulation own it.
///
/// Guarantee of the clocks of services: never follows the steps of a wall clock, and is agreed on by all members of a
/// grid. Comparison with the clocks of others takes a [`WallClock`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The time of day of the rest of the world: for comparison with the clocks of application servers.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// The present instant. May step in either direction.
    fn wall(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(saturating::<u64>(since.as_millis()))
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.now().plus(by).0, Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl WallClock for ManualClock {
    fn wall(&self) -> Timestamp {
        self.now()
    }
}
