//! Counts of the calls of Redis, and their metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};
use pushgrid_runtime::metrics::{
    BREAKER_OPEN, Meter, REDIS_CALLS, REDIS_FAILURES, REDIS_IN_FLIGHT, REDIS_MICROSECONDS, VIEWS_DISCARDED,
    level,
};
use pushgrid_store::{ErrorKind, StoreError};
use pushgrid_types::cast::saturating;

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Finished calls, failed ones included.
    pub calls: u64,
    /// Calls failed without any effect.
    pub unavailable: u64,
    /// Writes without an answer: their effect is unknown.
    pub unknown: u64,
    /// Calls that Redis cannot carry out, whatever the number of attempts.
    pub corrupt: u64,
    /// Sum of the durations of these calls.
    pub spent: Duration,
    /// Connections made.
    pub connections: u64,
    /// Discarded views of another changelog.
    pub discarded: u64,
}

/// Counters behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    calls: AtomicU64,
    unavailable: AtomicU64,
    unknown: AtomicU64,
    corrupt: AtomicU64,
    micros: AtomicU64,
    discarded: AtomicU64,
}

/// Metrics of a connection.
#[derive(Debug)]
pub(crate) struct Shown {
    open: Gauge,
    in_flight: Gauge,
    calls: Counter,
    microseconds: Counter,
    unavailable: Counter,
    unknown: Counter,
    corrupt: Counter,
    discarded: Counter,
}

impl Counts {
    /// Counts a call that took `spent`, and its failure.
    pub(crate) fn called(&self, spent: Duration, failure: Option<&StoreError>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(saturating::<u64>(spent.as_micros()), Ordering::Relaxed);
        if let Some(error) = failure {
            let count = match error.kind {
                ErrorKind::Unavailable | ErrorKind::Closed => &self.unavailable,
                ErrorKind::Unknown => &self.unknown,
                ErrorKind::Corrupt => &self.corrupt,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a discarded view.
    pub(crate) fn discarded(&self) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, connections: u64) -> Figures {
        Figures {
            calls: self.calls.load(Ordering::Relaxed),
            unavailable: self.unavailable.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
            corrupt: self.corrupt.load(Ordering::Relaxed),
            spent: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
            connections,
            discarded: self.discarded.load(Ordering::Relaxed),
        }
    }
}

impl Shown {
    pub(crate) fn new(meter: &Meter) -> Self {
        let failed = |kind| meter.counter(&REDIS_FAILURES, &[("kind", kind)]);
        Self {
            open: meter.gauge(&BREAKER_OPEN, &[("dependency", "redis")]),
            in_flight: meter.gauge(&REDIS_IN_FLIGHT, &[]),
            calls: meter.counter(&REDIS_CALLS, &[]),
            microseconds: meter.counter(&REDIS_MICROSECONDS, &[]),
            unavailable: failed("unavailable"),
            unknown: failed("unknown"),
            corrupt: failed("corrupt"),
            discarded: meter.counter(&VIEWS_DISCARDED, &[]),
        }
    }

    pub(crate) fn show(&self, breaker_open: bool, in_flight: usize, figures: Figures) {
        self.open.set(if breaker_open { 1.0 } else { 0.0 });
        self.in_flight.set(level(in_flight));
        self.calls.absolute(figures.calls);
        self.microseconds.absolute(saturating::<u64>(figures.spent.as_micros()));
        self.unavailable.absolute(figures.unavailable);
        self.unknown.absolute(figures.unknown);
        self.corrupt.absolute(figures.corrupt);
        self.discarded.absolute(figures.discarded);
    }
}
