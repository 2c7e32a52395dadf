use std::time::Duration;

use crate::note::RANGES;

/// The bounds of a partition. The defaults suit production; tests choose others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Operations that may wait for the writer: beyond it they are refused as unavailable.
    pub queue: usize,
    /// Messages and ids in one cycle of the writer; an operation that has more goes alone.
    pub cycle: usize,
    /// Changes that the view is told in one call, and entries that are read from the changelog in one.
    pub batch: usize,
    /// Octets of bodies in one call to the view.
    pub batch_octets: usize,
    /// Messages that are read from the log before anybody asks for them.
    pub prefetch: usize,
    /// Octets of their bodies.
    pub prefetch_octets: usize,
    /// Messages from the oldest that is not dealt with to the newest that was read. Beyond it nothing more is read.
    pub window: usize,
    /// How long what has been dealt with may go uncommitted: that much comes again after a crash.
    pub commit_every: Duration,
    /// How often the view is looked after while nothing happens.
    pub check_every: Duration,
    /// Octets of a commit that may say which messages were dealt with out of order. Bounded by what fits; with less,
    /// more comes again after a crash.
    pub note: usize,
    /// The pause after a first failure; each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause between two tries.
    pub max_pause: Duration,
    /// How often a catch-up says how far it is.
    pub progress_every: Duration,
    /// How long a close may take to finish what was asked for, and to commit.
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
