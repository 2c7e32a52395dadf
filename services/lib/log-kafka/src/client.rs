//! Rate-limited forwarding of librdkafka's log lines to `tracing`.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Lines let through in each [`WINDOW`]. librdkafka complains of brokers out of reach many times a second.
const LINES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(5);

/// Forwards log lines, at most [`LINES`] in each [`WINDOW`]. The lines name brokers, never secrets or
/// records.
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
    /// Admits a line at `now` and returns the number of lines left out before; `None` when the window is
    /// full.
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
        self.window.lock().admit(Instant::now())
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
        // What a reader asked to be told of, and no fault.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
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
