//! Which messages of the log have been dealt with, and the account of it.

mod ahead;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use pushgrid_types::{Outcome, Position, Sequence};

pub(crate) use ahead::Ahead;

/// The messages of the log from the oldest that is not dealt with on, and the counts that are committed with them.
///
/// Invariant: the window begins with a message that is not dealt with, or is empty.
/// Invariant: `before`, the window and what is ahead hold every message that was accepted so far once.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Messages before the window: all have been dealt with.
    before: u64,
    /// What was read, in the order of the sequences, which may have gaps.
    window: VecDeque<(u64, State)>,
    /// The sequence after the last that was read.
    read_to: u64,
    /// What is known of messages that have not been read (again).
    ahead: Ahead,
    ended: [u64; Outcome::ALL.len()],
    /// The changes before this position are in the counts.
    position: Position,
    /// Messages in the mailbox.
    waiting: u64,
}

/// What is known of a message that was read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has become of it yet.
    Open,
    /// The writer is moving it to the mailbox, or ending it there.
    Moving,
    /// It ended without ever being moved.
    Settled(Outcome),
    /// The changelog says what became of it, at or after this position.
    Moved(Position),
    /// It was dealt with in an earlier tenure, and the counts have it; how is no longer known.
    Known,
}

impl State {
    const fn is_dealt_with(self) -> bool {
        match self {
            Self::Open | Self::Moving => false,
            Self::Settled(_) | Self::Moved(_) | Self::Known => true,
        }
    }
}

/// What the tracker makes of a message that comes from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// It is new: to be counted and handed out.
    New,
    /// It was dealt with in an earlier life, and is in the counts.
    DealtWith,
    /// It was read before.
    Again,
}

/// Where a tracker begins.
#[derive(Debug)]
pub(crate) struct Start {
    /// The first sequence that may not have been dealt with.
    pub(crate) next: Sequence,
    pub(crate) before: u64,
    pub(crate) ahead: Ahead,
    pub(crate) ended: [u64; Outcome::ALL.len()],
    pub(crate) position: Position,
    pub(crate) waiting: u64,
}

/// What a cycle of the writer has made durable.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    /// Messages of the log that were moved, or ended by a change. All were moving.
    pub(crate) moved: Vec<Sequence>,
    /// Messages of the log that ended as repeats of one that waits, without a change. All were moving.
    pub(crate) repeats: Vec<Sequence>,
    /// How messages have ended by changes.
    pub(crate) ended: [u64; Outcome::ALL.len()],
    /// Messages that came into the mailbox, and that left it.
    pub(crate) came: u64,
    pub(crate) left: u64,
}

/// How a repeat of a message ends that waits under the same id.
pub(crate) const REPEAT: Outcome = Outcome::Replaced;

impl Tracker {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            before: start.before,
            window: VecDeque::new(),
            read_to: start.next.0,
            ahead: start.ahead,
            ended: start.ended,
            position: start.position,
            waiting: start.waiting,
        }
    }

    /// Enters the next message of the log.
    pub(crate) fn read(&mut self, sequence: Sequence) -> Read {
        let at = sequence.0;
        if at < self.read_to {
            return Read::Again;
        }
        // What the log has forgotten meanwhile does not come again.
        while let Some((missing, position)) = self.ahead.moved_before(at) {
            self.window.push_back((missing, State::Moved(position)));
        }
        let state = self.ahead.take(at);
        self.window.push_back((at, state.unwrap_or(State::Open)));
        self.read_to = at + 1;
        self.before += self.ahead.passed(self.read_to);
        self.advance();
        if state.is_some() { Read::DealtWith } else { Read::New }
    }

    /// Ends a message that was not moved. Says whether that was the end of it.
    pub(crate) fn settle(&mut self, sequence: Sequence, outcome: Outcome) -> bool {
        let is_open = self.state(sequence) == Some(State::Open);
        if is_open {
            self.ended[outcome.index()] += 1;
            self.set(sequence, State::Settled(outcome));
            self.advance();
        }
        is_open
    }

    /// Takes a message for the writer, if nothing has become of it yet.
    pub(crate) fn start_moving(&mut self, sequence: Sequence) -> bool {
        let is_open = self.state(sequence) == Some(State::Open);
        if is_open {
            self.set(sequence, State::Moving);
        }
        is_open
    }

    /// Enters what the writer has made durable by changes from `from` up to `to`.
    pub(crate) fn enter(&mut self, from: Position, to: Position, entered: &Entered) {
        for sequence in &entered.moved {
            self.set(*sequence, State::Moved(from));
        }
        for sequence in &entered.repeats {
            self.ended[REPEAT.index()] += 1;
            self.set(*sequence, State::Settled(REPEAT));
        }
        for (sum, ended) in self.ended.iter_mut().zip(entered.ended) {
            *sum += ended;
        }
        self.waiting = (self.waiting + entered.came).saturating_sub(entered.left);
        self.position = self.position.max(to);
        self.advance();
    }

    /// Whether nothing has become of a message that was read.
    pub(crate) fn is_open(&self, sequence: Sequence) -> bool {
        self.state(sequence) == Some(State::Open)
    }

    /// Whether a message was ever in the log, as far as it has been read.
    pub(crate) fn was_read(&self, sequence: Sequence) -> bool {
        (1..self.read_to).contains(&sequence.0)
    }

    /// From the oldest message that is not dealt with to the newest that was read.
    pub(crate) fn len(&self) -> usize {
        self.window.len()
    }

    /// The sequence after the last that was read.
    pub(crate) fn read_to(&self) -> Sequence {
        Sequence(self.read_to)
    }

    /// Messages in the mailbox.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    fn index(&self, sequence: Sequence) -> Option<usize> {
        self.window.binary_search_by_key(&sequence.0, |(at, _)| *at).ok()
    }

    fn state(&self, sequence: Sequence) -> Option<State> {
        self.index(sequence).map(|index| self.window[index].1)
    }

    fn set(&mut self, sequence: Sequence, state: State) {
        if let Some(index) = self.index(sequence) {
            self.window[index].1 = state;
        }
    }

    fn advance(&mut self) {
        while self.window.front().is_some_and(|(_, state)| state.is_dealt_with()) {
            self.window.pop_front();
            self.before += 1;
        }
    }
}
