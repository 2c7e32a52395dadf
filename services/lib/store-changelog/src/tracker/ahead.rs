use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use pushgrid_types::{Position, Sequence};

use super::State;

/// Messages that an earlier tenure has dealt with, and that the log has not handed to this one yet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// What the note says: rising, apart from each other. May cover sequences that were never given.
    ranges: VecDeque<Range<u64>>,
    /// How many messages the ranges hold that have not been read.
    messages: u64,
    /// What the changelog says, and from which position on it does. Never in a range.
    moved: BTreeMap<u64, Position>,
}

/// A part of what is ahead.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) range: Range<u64>,
    pub(super) state: State,
}

impl Ahead {
    /// What a note says: `messages` in these ranges.
    pub(crate) fn new(ranges: Vec<Range<u64>>, messages: u64) -> Self {
        Self { ranges: ranges.into(), messages, moved: BTreeMap::new() }
    }

    /// Adds what the changelog says at `position`. The first time counts, and a range more than that.
    pub(crate) fn collect(&mut self, sequence: Sequence, position: Position) {
        if !self.is_in_range(sequence.0) {
            self.moved.entry(sequence.0).or_insert(position);
        }
    }

    /// How many messages it holds.
    pub(crate) fn len(&self) -> u64 {
        self.messages + u64::try_from(self.moved.len()).expect("a count of things in memory fits 64 bits")
    }

    fn is_in_range(&self, sequence: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.end <= sequence);
        self.ranges.get(after).is_some_and(|range| range.contains(&sequence))
    }

    /// Takes out the first moved message before `sequence`.
    pub(super) fn moved_before(&mut self, sequence: u64) -> Option<(u64, Position)> {
        let first = self.moved.first_entry().filter(|first| *first.key() < sequence)?;
        Some(first.remove_entry())
    }

    /// Takes out what it knows of a message that is read now.
    pub(super) fn take(&mut self, sequence: u64) -> Option<State> {
        if self.is_in_range(sequence) {
            self.messages = self.messages.saturating_sub(1);
            return Some(State::Known);
        }
        self.moved.remove(&sequence).map(State::Moved)
    }

    /// Forgets the ranges before `read_to`, and answers how many messages the log has forgotten of all ranges, once
    /// the last is passed.
    pub(super) fn passed(&mut self, read_to: u64) -> u64 {
        while self.ranges.front().is_some_and(|range| range.end <= read_to) {
            self.ranges.pop_front();
        }
        if self.ranges.is_empty() { std::mem::take(&mut self.messages) } else { 0 }
    }

    /// How many messages of the ranges have not been read.
    pub(super) fn in_ranges(&self) -> u64 {
        self.messages
    }

    /// Everything from `read_to` on, in order.
    pub(super) fn parts(&self, read_to: u64) -> Vec<Part> {
        let ranges = self
            .ranges
            .iter()
            .map(|range| Part { range: range.start.max(read_to)..range.end, state: State::Known });
        let moved = self
            .moved
            .iter()
            .map(|(at, position)| Part { range: *at..at + 1, state: State::Moved(*position) });
        let mut parts: Vec<_> = ranges.chain(moved).collect();
        parts.sort_unstable_by_key(|part| part.range.start);
        parts
    }
}
