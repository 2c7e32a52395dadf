use std::time::Duration;

use crate::note::RANGES;

/// Bounds of a partition. The defaults suit production; tests choose others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Operations queued for the writer; further ones are refused as unavailable.
    pub queue: usize,
    /// Most messages and ids in one cycle of the writer; a larger operation goes alone.
    pub cycle: usize,
    /// Changes applied to the view in one call, and entries read from the changelog in one.
    pub batch: usize,
    /// Octets of bodies in one call to the view.
    pub batch_octets: usize,
    /// Messages read from the log ahead of the consumer.
    pub prefetch: usize,
    /// Octets of the bodies.
    pub prefetch_octets: usize,
    /// Open messages, and runs of acknowledged ones in between; also acknowledged messages without room in
    /// any commit. At this bound the log is read no further.
    pub window: usize,
    /// Longest time before an end is committed; a crash redelivers the messages ended since the last commit.
    pub commit_every: Duration,
    /// Interval at which an idle view is checked.
    pub check_every: Duration,
    /// Octets of a note for acknowledged ranges, at most as many as fit. With less, more is redelivered after
    /// a crash.
    pub note: usize,
    /// Backoff after the first failure; doubles with each further one.
    pub first_pause: Duration,
    /// Longest backoff between attempts.
    pub max_pause: Duration,
    /// Interval at which a replay reports its progress.
    pub progress_every: Duration,
    /// Deadline of a close: finishing queued operations, and the last commit.
    pub close_within: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            queue: 4096,
            cycle: 1024,
            batch: 500,
            batch_octets: 1 << 20,
            prefetch: 1024,
            prefetch_octets: 8 << 20,
            window: 1 << 18,
            commit_every: Duration::from_millis(250),
            check_every: Duration::from_secs(1),
            note: RANGES,
            first_pause: Duration::from_millis(50),
            max_pause: Duration::from_secs(5),
            progress_every: Duration::from_secs(5),
            close_within: Duration::from_secs(10),
        }
    }
}
