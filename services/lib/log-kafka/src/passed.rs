//! Counting of unreadable records passed over.
//! Invariant: a record counts once however often it is read, up to a bound on memory; no octet of a record
//! reaches a log line.

use std::collections::HashSet;

use metrics::Counter;
use parking_lot::Mutex;
use pushgrid_runtime::metrics::{LOG_NEWER, LOG_SKIPPED, Meter};
use pushgrid_store::UnreadableCause;

/// Bound of remembered records. Beyond, a record read again counts again.
const KNOWN: usize = 10_000;

/// Counts records passed over, each once however often read, and logs one line for each partition and reason:
/// a process that writes to the wrong topic writes many.
#[derive(Debug)]
pub(crate) struct Passed {
    topic: String,
    seen: Mutex<Seen>,
    /// Damaged or foreign records.
    damaged: Counter,
    /// Records of a newer release.
    newer: Counter,
}

#[derive(Debug, Default)]
struct Seen {
    records: HashSet<(i32, u64)>,
    /// Bounded by partitions times reasons; reasons are words of this program.
    reasons: HashSet<(i32, String)>,
}

impl Passed {
    /// Counts records of the topic `topic`, under `label` in `meter`.
    pub(crate) fn new(topic: &str, meter: &Meter, label: &'static str) -> Self {
        let labels = [("topic", label)];
        Self {
            topic: topic.to_owned(),
            seen: Mutex::default(),
            damaged: meter.counter(&LOG_SKIPPED, &labels),
            newer: meter.counter(&LOG_NEWER, &labels),
        }
    }

    /// Counts a record. `reason` must hold nothing of the record.
    pub(crate) fn add(&self, partition: i32, offset: u64, cause: UnreadableCause, reason: &str) {
        let mut seen = self.seen.lock();
        if seen.records.len() < KNOWN {
            if !seen.records.insert((partition, offset)) {
                return;
            }
        } else if seen.records.contains(&(partition, offset)) {
            return;
        }
        let is_first = seen.reasons.insert((partition, reason.to_owned()));
        drop(seen);
        let topic = self.topic.as_str();
        match cause {
            UnreadableCause::Damaged => {
                self.damaged.increment(1);
                if is_first {
                    tracing::error!(
                        topic,
                        partition,
                        offset,
                        reason,
                        "a record cannot be read and is passed over; further ones of this kind are only counted"
                    );
                }
            }
            UnreadableCause::Newer => {
                self.newer.increment(1);
                if is_first {
                    tracing::warn!(
                        topic,
                        partition,
                        offset,
                        reason,
                        "a record of a newer release stays as it is and is passed over; further ones of this kind are \
                         only counted"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of damaged and newer records, as shown by the meter.
    fn counts(meter: &Meter) -> [u64; 2] {
        let text = meter.render();
        ["skipped", "newer"].map(|what| {
            let series = format!("pushgrid_log_{what}_total{{topic=\"accepted\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
        })
    }

    #[test]
    fn a_record_counts_once_however_often_it_is_read() {
        let meter = Meter::new();
        let passed = Passed::new("topic", &meter, "accepted");
        for _ in 0..3 {
            passed.add(0, 7, UnreadableCause::Damaged, "one");
            passed.add(1, 7, UnreadableCause::Damaged, "one");
            passed.add(0, 8, UnreadableCause::Newer, "two");
        }
        assert_eq!(counts(&meter), [2, 1]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let meter = Meter::new();
        let passed = Passed::new("topic", &meter, "accepted");
        for offset in 0..20_000 {
            passed.add(0, offset, UnreadableCause::Damaged, "one");
        }
        assert_eq!(counts(&meter), [20_000, 0]);
        assert_eq!(passed.seen.lock().records.len(), KNOWN);
    }
}
