use std::ops::Range;

use pushgrid_store::Commit;
use pushgrid_types::{Position, Sequence};

use super::{State, Tracker};
use crate::claims::Claims;
use crate::note::{Note, RANGES};

impl Tracker {
    /// What there is to commit at this moment, with ranges of at most `octets`. `None`: it would not fit, and what does
    /// not fit is known from nowhere else, so the last commit has to stand a while longer.
    pub(crate) fn commit(&self, claims: &Claims, octets: usize) -> Option<Commit> {
        let next = self.window.front().map_or(self.read_to, |(sequence, _)| *sequence);
        let mut ranges = Ranges::new(next, octets.min(RANGES));
        let mut rest = Rest { collect_from: self.position, ..Rest::default() };
        let mut ended = self.ended;
        let mut beyond = 0;
        for (sequence, state) in &self.window {
            ranges.add(*sequence..sequence + 1, state.is_dealt_with());
        }
        let parts = self.ahead.parts(self.read_to);
        for part in &parts {
            // What lies between has not been read.
            ranges.add(ranges.end.max(self.read_to)..part.range.start, false);
            ranges.add(part.range.clone(), true);
        }
        let covered = ranges.finish();
        for (sequence, state) in &self.window {
            if !state.is_dealt_with() {
            } else if covered.has(*sequence) {
                beyond += 1;
            } else {
                rest.add(*state);
            }
        }
        for part in &parts {
            match part.state {
                State::Moved(_) if covered.has(part.range.start) => beyond += 1,
                state if !covered.has(part.range.start) => rest.add(state),
                State::Known | State::Moved(_) | State::Open | State::Moving | State::Settled(_) => {}
            }
        }
        if rest.is_unknown {
            return None;
        }
        for (sum, left_out) in ended.iter_mut().zip(rest.ended) {
            *sum -= left_out;
        }
        let note = Note {
            claims: claims.clone(),
            position: self.position,
            collect_from: rest.collect_from,
            before: self.before,
            beyond: beyond + self.ahead.in_ranges(),
            ended,
            ranges: covered.ranges,
        };
        let next = Sequence(next);
        Some(Commit { next, note: note.encode(next) })
    }
}

/// What was dealt with and does not fit.
#[derive(Debug, Default)]
struct Rest {
    /// To be counted again when they end again.
    ended: [u64; pushgrid_types::Outcome::ALL.len()],
    /// To be looked for in the changelog.
    collect_from: Position,
    is_unknown: bool,
}

impl Rest {
    fn add(&mut self, state: State) {
        match state {
            State::Open | State::Moving => {}
            State::Settled(outcome) => self.ended[outcome.index()] += 1,
            State::Moved(position) => self.collect_from = self.collect_from.min(position),
            State::Known => self.is_unknown = true,
        }
    }
}

/// Joins sequences to ranges, the lowest first, until they would cost too much.
#[derive(Debug)]
struct Ranges {
    left: usize,
    joined: Vec<Range<u64>>,
    /// Where the last range that was taken ends, or `next`.
    after: u64,
    /// The range that may still grow.
    current: Option<Range<u64>>,
    /// The end of everything that was added.
    end: u64,
    is_full: bool,
}

/// The ranges that fit.
#[derive(Debug)]
struct Covered {
    ranges: Vec<Range<u64>>,
    /// Nothing from here on is in them.
    to: u64,
}

impl Covered {
    /// Whether they speak of a message that was dealt with.
    fn has(&self, sequence: u64) -> bool {
        sequence < self.to
    }
}

impl Ranges {
    fn new(next: u64, octets: usize) -> Self {
        Self { left: octets, joined: Vec::new(), after: next, current: None, end: next, is_full: false }
    }

    /// Adds what lies after everything before it. Sequences in between were never given: they go with what is before
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
