//! Bounds of a measurement. Any within them fits one small machine, and ends.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) const SOCKETS: RangeInclusive<u64> = 1..=200_000;
pub(super) const USER_AGENTS: RangeInclusive<u64> = 1..=20_000;
/// Each message takes 24 octets of this process.
pub(super) const MESSAGES: RangeInclusive<u64> = 1..=4_000_000;
pub(super) const PARALLEL: RangeInclusive<u64> = 1..=1024;
pub(super) const DURATION: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
pub(super) const RATE: RangeInclusive<f64> = 0.1..=100_000.0;

/// Longest time for the server to come to rest: to see the sockets, to count the acknowledgements, to be idle.
pub(super) const REST: Duration = Duration::from_secs(30);

/// Interval between two looks at the server's metrics.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// The value of a flag that takes a time, such as `20s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let given = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if DURATION.contains(&given) { Ok(given) } else { Err("a time from 100ms to 1h".to_owned()) }
}
