//! Snapshot of a tracker as a commit: the low watermark, and as many acknowledged ranges as a note has room
//! for.
//! Invariant: messages left out are found in the changelog from `collect_from` on, or redelivered; the counts
//! agree.

use std::ops::Range;

use pushgrid_store::Commit;
use pushgrid_types::{Position, Sequence};

use super::Tracker;
use super::window::{Entry, Tally};
use crate::claims::Claims;
use crate::note::{Note, RANGES};

/// Snapshot of a tracker, to be committed.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// `None` if the ranges do not fit and the rest is known from nowhere else: then the last commit stands
    /// on.
    pub(crate) commit: Option<Commit>,
    /// Acknowledged messages left out of the commit: a crash redelivers them.
    pub(crate) left_out: u64,
    /// Those of them that ended in the log: the changelog does not tell of them.
    pub(crate) ends_left_out: u64,
}

impl Tracker {
    /// Takes a snapshot with ranges of at most `octets`. The next owner reads the changelog at the latest
    /// from `read_from` on.
    pub(crate) fn snapshot(&self, claims: &Claims, read_from: Option<Position>, octets: usize) -> Snapshot {
        let next = self.window.first().unwrap_or(self.read_to);
        let mut ranges = Ranges::new(next, octets.min(RANGES));
        for (at, entry) in self.window.iter() {
            ranges.add(at..entry.end(at), entry.is_dealt_with());
        }
        let mut last_known = None;
        for range in self.ahead.ranges(self.read_to) {
            // Sequences in between have not been read.
            ranges.add(ranges.end.max(self.read_to)..range.start, false);
            last_known = Some(range.start);
            ranges.add(range, true);
        }
        let covered = ranges.finish();
        let (mut beyond, mut rest) = (0, Tally::default());
        for (at, entry) in self.window.iter() {
            match entry {
                Entry::Open | Entry::Moving => {}
                // A run is in one range, whole.
                Entry::DealtWith(run) if covered.has(at) => beyond += run.tally.messages,
                Entry::DealtWith(run) => rest.join(&run.tally),
            }
        }
        rest.is_unknown |= last_known.is_some_and(|last| !covered.has(last));
        if rest.is_unknown {
            let ends_left_out = rest.ended.iter().sum();
            return Snapshot { commit: None, left_out: beyond + rest.messages, ends_left_out };
        }
        let mut ended = self.ended;
        for (sum, left_out) in ended.iter_mut().zip(rest.ended) {
            // Counted again when they end again.
            *sum -= left_out;
        }
        let note = Note {
            claims: claims.clone(),
            position: self.position,
            // Moved messages left out are looked up in the changelog. So are those not read yet: a range would not
            // name its message.
            collect_from: (rest.moved.into_iter())
                .chain(self.ahead.first_moved())
                .chain(read_from)
                .fold(self.position, Position::min),
            before: self.before,
            beyond: beyond + self.ahead.in_ranges(),
            ended,
            ranges: covered.ranges,
        };
        let next = Sequence(next);
        let commit = Some(Commit { next, note: note.encode(next) });
        Snapshot { commit, left_out: rest.messages, ends_left_out: rest.ended.iter().sum() }
    }
}

/// Joins sequences to ranges, the lowest first, until their cost reaches the bound.
#[derive(Debug)]
struct Ranges {
    left: usize,
    joined: Vec<Range<u64>>,
    /// End of the last range taken, or `next`.
    after: u64,
    /// Last range, still growing.
    current: Option<Range<u64>>,
    /// End of everything added.
    end: u64,
    is_full: bool,
}

/// Ranges with room in the note.
#[derive(Debug)]
struct Covered {
    ranges: Vec<Range<u64>>,
    /// Sequence from which on nothing is in the ranges.
    to: u64,
}

impl Covered {
    /// True for an acknowledged message in the ranges.
    fn has(&self, sequence: u64) -> bool {
        sequence < self.to
    }
}

impl Ranges {
    fn new(next: u64, octets: usize) -> Self {
        Self { left: octets, joined: Vec::new(), after: next, current: None, end: next, is_full: false }
    }

    /// Adds a range after all others. Sequences in between were never given, and go with the range before
    /// them.
    fn add(&mut self, range: Range<u64>, is_dealt_with: bool) {
        if range.is_empty() {
            return;
        }
        self.end = range.end;
        match &mut self.current {
            Some(current) if is_dealt_with => current.end = range.end,
            Some(current) => {
                current.end = range.start;
                self.close();
            }
            None if is_dealt_with => self.current = Some(range),
            None => {}
        }
    }

    fn close(&mut self) {
        let Some(range) = self.current.take() else { return };
        if self.is_full {
            return;
        }
        let cost = Note::cost(self.after, &range);
        if cost > self.left {
            self.is_full = true;
            return;
        }
        self.left -= cost;
        self.after = range.end;
        self.joined.push(range);
    }

    fn finish(mut self) -> Covered {
        self.close();
        let to = if self.is_full { self.after } else { u64::MAX };
        Covered { ranges: self.joined, to }
    }
}
