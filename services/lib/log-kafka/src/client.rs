//! What librdkafka has to say, said by `tracing`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// Lines that are let through in each [`WINDOW`]. Brokers that are away are complained of many times a second.
const LINES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(5);

/// Passes log lines on, and not too many of them. Brokers are named in them, and never secrets or records.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    said: u32,
    left_out: u32,
}

impl Window {
    /// Whether a line may be said at `now`, and if so how many have been left out before it.
    fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said == LINES {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Lines {
    fn admit(&self) -> Option<u32> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now())
    }
}

impl ClientContext for Lines {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let Some(left_out) = self.admit() else { return };
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "pushgrid_log_kafka", facility, left_out, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::warn!(target: "pushgrid_log_kafka", facility, left_out, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Info => {
                tracing::info!(target: "pushgrid_log_kafka", facility, left_out, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "pushgrid_log_kafka", facility, left_out, "librdkafka: {line}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(left_out) = self.admit() else { return };
        tracing::warn!(target: "pushgrid_log_kafka", left_out, "librdkafka: {error}: {reason}");
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Lines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_are_counted_and_the_count_is_said() {
        let start = Instant::now();
        let mut window = Window::default();
        let first: Vec<_> = (0..LINES + 3).map(|_| window.admit(start)).collect();
        assert_eq!(first.iter().filter(|admitted| **admitted == Some(0)).count(), LINES as usize);
        assert_eq!(window.admit(start + WINDOW), Some(3));
        assert_eq!(window.admit(start + WINDOW), Some(0));
    }
}
