//! The steady clock: uptime of the machine plus a shift.
//!
//! Invariant: between two shifts the clock moves with real time alone. The shifts are decided by `local` and `grid`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pushgrid_types::cast::saturating;
use pushgrid_types::{Clock, ClockOffset, SystemClock, Timestamp, WallClock};
use rustix::time::{ClockId, clock_gettime};

use super::offset;

/// Time that only moves forward, at the pace of real time.
pub trait Uptime: Send + Sync + fmt::Debug {
    /// The time since some moment before the process.
    fn uptime(&self) -> Duration;
}

/// Time since the start of the machine, suspension included.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootTime;

impl Uptime for BootTime {
    fn uptime(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
    }
}

/// An uptime at a standstill until moved by a test.
#[derive(Debug, Default)]
pub struct ManualUptime(AtomicU64);

impl ManualUptime {
    /// Moves the uptime forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(saturating::<u64>(by.as_micros()), Ordering::SeqCst);
    }
}

impl Uptime for ManualUptime {
    fn uptime(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that moves with an [`Uptime`], whatever happens to wall clocks. Clones are one clock.
///
/// Reading costs one look at the uptime, without a system call, and one relaxed load.
#[derive(Debug, Clone)]
pub struct SteadyClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    uptime: Arc<dyn Uptime>,
    /// Difference to the uptime, in microseconds.
    shift: AtomicI64,
}

impl SteadyClock {
    /// A clock at `uptime` plus `shift`.
    pub fn new(uptime: Arc<dyn Uptime>, shift: ClockOffset) -> Self {
        Self(Arc::new(Inner { uptime, shift: AtomicI64::new(shift.as_micros()) }))
    }

    /// A clock set once to the present time of the machine's wall clock.
    pub fn of_machine() -> Self {
        let uptime = BootTime.uptime();
        Self::new(Arc::new(BootTime), of_wall(&SystemClock).minus(offset(uptime)))
    }

    /// Difference to the uptime.
    pub fn shift(&self) -> ClockOffset {
        ClockOffset::from_micros(self.0.shift.load(Ordering::Relaxed))
    }

    /// Moves the clock by `by`, in either direction.
    pub(super) fn shift_by(&self, by: ClockOffset) {
        self.set_shift(self.shift().plus(by));
    }

    pub(super) fn set_shift(&self, shift: ClockOffset) {
        self.0.shift.store(shift.as_micros(), Ordering::Relaxed);
    }

    pub(super) fn uptime(&self) -> Duration {
        self.0.uptime.uptime()
    }

    /// The instant as an offset from 1970, negative before.
    pub(super) fn shown(&self) -> ClockOffset {
        offset(self.uptime()).plus(self.shift())
    }
}

/// A wall clock's instant as an offset from 1970.
pub(super) fn of_wall(clock: &dyn WallClock) -> ClockOffset {
    offset(Duration::from_millis(clock.wall().as_millis()))
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let millis = self.shown().as_micros() / 1000;
        Timestamp::from_millis(saturating::<u64>(millis))
    }
}

/// For a clock kept at the time of day.
impl WallClock for SteadyClock {
    fn wall(&self) -> Timestamp {
        self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_with_the_uptime_and_with_what_it_is_told() {
        let uptime = Arc::new(ManualUptime::default());
        let clock = SteadyClock::new(uptime.clone(), ClockOffset::from_micros(5_000_000));
        assert_eq!(clock.now(), Timestamp::from_secs(5));
        uptime.advance(Duration::from_millis(1500));
        assert_eq!(clock.clone().now(), Timestamp::from_millis(6500));
        clock.shift_by(ClockOffset::from_micros(-2_500_000));
        assert_eq!(clock.now(), Timestamp::from_secs(4));
        clock.set_shift(ClockOffset::from_micros(i64::MIN));
        assert_eq!(clock.now(), Timestamp::from_secs(0), "no instant is before 1970");
    }

    #[test]
    fn the_uptime_of_the_machine_is_that_of_the_kernel() {
        let proc = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = proc.split_whitespace().next().unwrap().parse().unwrap();
        let apart = (BootTime.uptime().as_secs_f64() - seconds).abs();
        assert!(apart < 60.0, "{apart} s apart");
        let (steady, wall) = (SteadyClock::of_machine().now(), SystemClock.wall());
        assert!(wall.since(steady) < Duration::from_mins(1), "{wall:?} {steady:?}");
    }
}
