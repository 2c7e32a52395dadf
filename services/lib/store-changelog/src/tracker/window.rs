//! Window of a tracker: messages read and not passed, runs of acknowledged ones joined. Bound: the memory
//! goes by the open messages, not by the distance to the oldest one.

use std::collections::BTreeMap;

use pushgrid_types::{Outcome, Position};

use super::{LOST, State};

/// Messages read and not yet passed, in the order of the sequences, which may have gaps.
///
/// Consecutive acknowledged messages are one entry, and one range of a note. So the size goes by the open
/// messages, however many follow the oldest one.
#[derive(Debug, Default)]
pub(super) struct Window(BTreeMap<u64, Entry>);

/// Entry of a window: a message, or a run of them.
#[derive(Debug)]
pub(super) enum Entry {
    /// Without an end, and not stored.
    Open,
    /// On the way into the mailbox, by the writer.
    Moving,
    DealtWith(Box<Run>),
}

/// Consecutive acknowledged messages.
#[derive(Debug)]
pub(super) struct Run {
    /// Sequence after the last of them.
    pub(super) to: u64,
    pub(super) tally: Tally,
}

/// Sums over a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: u64,
    /// Messages ended without ever being moved, by outcome.
    pub(super) ended: [u64; Outcome::ALL.len()],
    /// First position at or after which the changelog tells of the others.
    pub(super) moved: Option<Position>,
    /// Set if the outcome of some is no longer known.
    pub(super) is_unknown: bool,
}

impl Window {
    /// Adds an entry after all others.
    pub(super) fn push(&mut self, at: u64, state: State) {
        let entry = match state {
            State::Open => Entry::Open,
            state => {
                if let Some(last) = self.0.last_entry()
                    && let Entry::DealtWith(run) = last.into_mut()
                {
                    run.tally.add(state);
                    run.to = state.end(at);
                    return;
                }
                Entry::DealtWith(Box::new(Run::of(at, state)))
            }
        };
        self.0.insert(at, entry);
    }

    pub(super) fn is_open(&self, at: u64) -> bool {
        matches!(self.0.get(&at), Some(Entry::Open))
    }

    /// Takes an open message for the writer. False if the message is no longer open.
    pub(super) fn start_moving(&mut self, at: u64) -> bool {
        match self.0.get_mut(&at) {
            Some(entry @ Entry::Open) => {
                *entry = Entry::Moving;
                true
            }
            Some(Entry::Moving | Entry::DealtWith(_)) | None => false,
        }
    }

    /// Acknowledges a message, and joins it to the neighbours.
    pub(super) fn deal_with(&mut self, at: u64, state: State) {
        let Some(Entry::Open | Entry::Moving) = self.0.get(&at) else { return };
        let mut run = Run::of(at, state);
        let next = self.0.range(at + 1..).next().map(|(next, entry)| (*next, entry.is_dealt_with()));
        if let Some((next, true)) = next
            && let Some(Entry::DealtWith(next)) = self.0.remove(&next)
        {
            run.join(&next);
        }
        if let Some((_, Entry::DealtWith(before))) = self.0.range_mut(..at).next_back() {
            before.join(&run);
            self.0.remove(&at);
        } else {
            self.0.insert(at, Entry::DealtWith(Box::new(run)));
        }
    }

    /// Takes the first run out, if the window begins with one.
    pub(super) fn pass(&mut self) -> Option<Tally> {
        let first = self.0.first_entry()?;
        if !first.get().is_dealt_with() {
            return None;
        }
        match first.remove() {
            Entry::DealtWith(run) => Some(run.tally),
            Entry::Open | Entry::Moving => None,
        }
    }

    /// Sequence of the first entry.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    /// Open messages, and runs of acknowledged ones.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.0.iter().map(|(at, entry)| (*at, entry))
    }
}

impl Entry {
    pub(super) const fn is_dealt_with(&self) -> bool {
        matches!(self, Self::DealtWith(_))
    }

    /// Sequence after the last of the entry, if it begins at `first`.
    pub(super) fn end(&self, first: u64) -> u64 {
        match self {
            Self::Open | Self::Moving => first + 1,
            Self::DealtWith(run) => run.to,
        }
    }
}

impl Run {
    fn of(at: u64, state: State) -> Self {
        let mut tally = Tally::default();
        tally.add(state);
        Self { to: state.end(at), tally }
    }

    /// Appends the next run.
    fn join(&mut self, next: &Self) {
        self.to = next.to;
        self.tally.join(&next.tally);
    }
}

impl Tally {
    pub(super) fn add(&mut self, state: State) {
        self.messages += state.messages();
        match state {
            State::Open => {}
            State::Settled(outcome) => self.ended[outcome.index()] += 1,
            State::Lost { messages, .. } => self.ended[LOST.index()] += messages,
            State::Moved(position) => self.moved = Some(self.moved.map_or(position, |it| it.min(position))),
            State::Known => self.is_unknown = true,
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.messages += other.messages;
        for (sum, ended) in self.ended.iter_mut().zip(other.ended) {
            *sum += ended;
        }
        self.moved = self.moved.into_iter().chain(other.moved).min();
        self.is_unknown |= other.is_unknown;
    }
}
