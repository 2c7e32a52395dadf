//! What the adapters count, shown as metrics.

use std::sync::Arc;

use pushgrid_log_kafka::{GroupWatch, KafkaChangelog, KafkaLog};
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store_changelog::Health;
use pushgrid_store_redis::Redis;

use crate::keeper::Partitions;

/// Calls of Redis, and whether it is left alone.
pub(crate) fn of_redis(meter: &Meter, redis: Redis) {
    let open = meter.gauge(&metrics::BREAKER_OPEN, &[("dependency", "redis")]);
    let in_flight = meter.gauge(&metrics::REDIS_IN_FLIGHT, &[]);
    let (calls, seconds) =
        (meter.counter(&metrics::REDIS_CALLS, &[]), meter.counter(&metrics::REDIS_MICROSECONDS, &[]));
    let failed = |kind| meter.counter(&metrics::REDIS_FAILURES, &[("kind", kind)]);
    let (unavailable, unknown, corrupt) = (failed("unavailable"), failed("unknown"), failed("corrupt"));
    meter.on_scrape(move || {
        let figures = redis.figures();
        open.set(if redis.breaker_open() { 1.0 } else { 0.0 });
        in_flight.set(count(redis.in_flight()));
        calls.absolute(figures.calls);
        seconds.absolute(u64::try_from(figures.spent.as_micros()).unwrap_or(u64::MAX));
        unavailable.absolute(figures.unavailable);
        unknown.absolute(figures.unknown);
        corrupt.absolute(figures.corrupt);
    });
}

/// The producer of accepted messages.
pub(crate) fn of_log(meter: &Meter, log: Arc<KafkaLog>) {
    let open = meter.gauge(&metrics::BREAKER_OPEN, &[("dependency", "kafka")]);
    let in_flight = meter.gauge(&metrics::LOG_IN_FLIGHT, &[("topic", "accepted")]);
    let octets = meter.counter(&metrics::LOG_OCTETS, &[("topic", "accepted")]);
    meter.on_scrape(move || {
        open.set(if log.breaker_open() { 1.0 } else { 0.0 });
        in_flight.set(precise(log.in_flight()));
        octets.absolute(log.octets());
    });
}

/// The producer of changes.
pub(crate) fn of_changelog(meter: &Meter, changelog: Arc<KafkaChangelog>) {
    let in_flight = meter.gauge(&metrics::LOG_IN_FLIGHT, &[("topic", "state")]);
    let octets = meter.counter(&metrics::LOG_OCTETS, &[("topic", "state")]);
    meter.on_scrape(move || {
        in_flight.set(precise(changelog.in_flight()));
        octets.absolute(changelog.octets());
    });
}

/// How far behind the partitions of a router are.
pub(crate) fn of_group(meter: &Meter, group: GroupWatch) {
    let lag = meter.gauge(&metrics::ROUTER_LAG, &[]);
    let skipped = meter.counter(&metrics::LOG_SKIPPED, &[]);
    meter.on_scrape(move || {
        lag.set(precise(group.lags().iter().map(|lag| lag.messages).sum()));
        skipped.absolute(group.skipped());
    });
}

/// How the partitions of a router are doing: which are being taken over or rebuilt, and how full all are.
pub(crate) fn of_partitions(meter: &Meter, partitions: Partitions) {
    let gauge = |which| meter.gauge(which, &[]);
    let (busy, left) = (gauge(&metrics::ROUTER_BUSY), gauge(&metrics::ROUTER_CATCH_UP));
    let (queue, window) = (gauge(&metrics::PARTITION_QUEUE), gauge(&metrics::PARTITION_WINDOW));
    let waiting = gauge(&metrics::PARTITION_WAITING);
    meter.on_scrape(move || {
        let all = partitions.busy();
        let remaining = all.iter().map(|(_, health)| match health {
            Health::CatchingUp { at, end } => end.0.saturating_sub(at.0),
            Health::TakingOver | Health::Serving | Health::Stopped(_) => 0,
        });
        left.set(precise(remaining.sum()));
        busy.set(count(all.len()));
        let figures = partitions.figures();
        queue.set(count(figures.iter().map(|it| it.queue).sum()));
        window.set(count(figures.iter().map(|it| it.window).sum()));
        waiting.set(precise(figures.iter().map(|it| it.waiting).sum()));
    });
}

#[expect(clippy::cast_precision_loss, reason = "counts of things in memory are far below 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages are ever on their way")]
fn precise(count: u64) -> f64 {
    count as f64
}
