//! Acknowledged messages inherited from earlier leader epochs and not yet re-read from the log: ranges of the
//! note, and sequences named by the changelog after the note.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use pushgrid_types::cast::fitting;
use pushgrid_types::{MessageId, Position, Sequence};

use super::State;

/// Acknowledged messages inherited from earlier leader epochs, not yet re-read from the log.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Ranges of the note: rising, with gaps between. May cover sequences without a message.
    ranges: VecDeque<Range<u64>>,
    /// Messages in the ranges, not yet read.
    messages: u64,
    /// Messages named by the changelog, each with the first position there; never in a range. Possibly of
    /// another log: after the topic was made anew, sequences begin again.
    moved: BTreeMap<u64, (MessageId, Position)>,
}

/// Knowledge of a message from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    State(State),
    /// The changelog names another log's message.
    OfAnotherLog,
}

impl Ahead {
    /// Starts with the ranges of a note, which hold `messages` messages.
    pub(crate) fn new(ranges: Vec<Range<u64>>, messages: u64) -> Self {
        Self { ranges: ranges.into(), messages, moved: BTreeMap::new() }
    }

    /// Adds a message named by the changelog at `position`. The first position counts; a message in a range
    /// stays there.
    pub(crate) fn collect(&mut self, sequence: Sequence, id: MessageId, position: Position) {
        if !self.is_in_range(sequence.0) {
            self.moved.entry(sequence.0).or_insert((id, position));
        }
    }

    /// Forgets messages named by the changelog from `end` on: not given by this log, they are of another one.
    pub(crate) fn end_at(&mut self, end: Sequence) {
        self.moved.split_off(&end.0);
    }

    /// Number of messages.
    pub(crate) fn len(&self) -> u64 {
        self.messages + fitting::<u64>(self.moved.len())
    }

    fn is_in_range(&self, sequence: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.end <= sequence);
        self.ranges.get(after).is_some_and(|range| range.contains(&sequence))
    }

    /// Takes out the first moved message before `sequence`.
    pub(super) fn moved_before(&mut self, sequence: u64) -> Option<(u64, Position)> {
        let first = self.moved.first_entry().filter(|first| *first.key() < sequence)?;
        let (sequence, (_, position)) = first.remove_entry();
        Some((sequence, position))
    }

    /// Takes out the knowledge of a message being read. Without an id the messages cannot be compared.
    pub(super) fn take(&mut self, sequence: u64, id: Option<MessageId>) -> Found {
        if self.is_in_range(sequence) {
            self.messages = self.messages.saturating_sub(1);
            return Found::State(State::Known);
        }
        match self.moved.remove(&sequence) {
            None => Found::Nothing,
            Some((moved, _)) if id.is_some_and(|id| id != moved) => Found::OfAnotherLog,
            Some((_, position)) => Found::State(State::Moved(position)),
        }
    }

    /// Forgets the ranges before `read_to`. Once the last is passed, returns the number of messages in ranges
    /// and no longer in the log.
    pub(super) fn passed(&mut self, read_to: u64) -> u64 {
        while self.ranges.front().is_some_and(|range| range.end <= read_to) {
            self.ranges.pop_front();
        }
        if self.ranges.is_empty() { std::mem::take(&mut self.messages) } else { 0 }
    }

    /// Number of sequences of `part` in the ranges.
    pub(super) fn covers(&self, part: Range<u64>) -> u64 {
        let shared = |range: &Range<u64>| range.end.min(part.end).saturating_sub(range.start.max(part.start));
        self.ranges.iter().map(shared).sum()
    }

    /// Messages of the ranges, not yet read.
    pub(super) fn in_ranges(&self) -> u64 {
        self.messages
    }

    /// Ranges from `read_to` on.
    pub(super) fn ranges(&self, read_to: u64) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(move |range| range.start.max(read_to)..range.end)
    }

    /// First position at which the changelog names one of the messages.
    pub(super) fn first_moved(&self) -> Option<Position> {
        self.moved.values().map(|(_, position)| *position).min()
    }
}
