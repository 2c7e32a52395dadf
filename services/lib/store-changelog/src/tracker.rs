//! Ack tracker of the log: a low watermark, the window of open messages above, and the account. A message is
//! acknowledged to the log once ended or in the mailbox. Pure: no I/O and no locks.

mod ahead;
mod snapshot;
mod window;

#[cfg(test)]
mod tests;

use std::ops::Range;

use pushgrid_mailbox::REPEAT;
use pushgrid_types::{DropReason, MessageId, Outcome, Position, Sequence};

pub(crate) use ahead::Ahead;
use ahead::Found;
pub(crate) use snapshot::Snapshot;
use window::Window;

/// Messages of the log from the oldest open one on, and the counts for the same commit.
///
/// Invariant: the window begins with an open message, or is empty.
/// Invariant: `before`, the window and `ahead` hold every message accepted so far once.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Messages before the window: all acknowledged.
    before: u64,
    window: Window,
    /// Acknowledged messages without room in the last snapshot: a crash would redeliver them.
    left_out: u64,
    /// Sequence after the last one read.
    read_to: u64,
    /// Acknowledged messages not yet read (again).
    ahead: Ahead,
    /// Set if messages lost before the first one read were accepted and are missing in the account. Without a
    /// note nothing is known of these.
    counts_lost: bool,
    ended: [u64; Outcome::ALL.len()],
    /// Position up to which changes are counted.
    position: Position,
    /// Messages in the mailbox.
    waiting: u64,
}

/// State of a message read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Without an end, and not stored.
    Open,
    /// Ended without ever being moved.
    Settled(Outcome),
    /// Stored or ended by a change at or after this position.
    Moved(Position),
    /// Lost from the log, up to the sequence `to`; `messages` of them count as dropped.
    Lost { to: u64, messages: u64 },
    /// Acknowledged under an earlier leader epoch, and in the counts; the outcome is no longer known.
    Known,
}

impl State {
    /// Number of messages in this state.
    const fn messages(self) -> u64 {
        match self {
            Self::Lost { messages, .. } => messages,
            Self::Open | Self::Settled(_) | Self::Moved(_) | Self::Known => 1,
        }
    }

    /// Sequence after the last of them, if the first is `first`.
    const fn end(self, first: u64) -> u64 {
        match self {
            Self::Lost { to, .. } => to,
            Self::Open | Self::Settled(_) | Self::Moved(_) | Self::Known => first + 1,
        }
    }
}

/// Verdict of the tracker on a message from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// New: to be counted and handed out.
    New,
    /// Acknowledged under an earlier owner, and in the counts.
    DealtWith,
    /// Read before.
    Again,
}

/// Initial state of a tracker.
#[derive(Debug)]
pub(crate) struct Start {
    /// First possibly open sequence.
    pub(crate) next: Sequence,
    pub(crate) before: u64,
    pub(crate) ahead: Ahead,
    pub(crate) ended: [u64; Outcome::ALL.len()],
    pub(crate) position: Position,
    pub(crate) waiting: u64,
    /// Set if a note of an earlier leader epoch gives this state.
    pub(crate) is_known: bool,
}

/// Durable result of a cycle of the writer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    /// Messages of the log stored, or ended by a change. All were moving.
    pub(crate) moved: Vec<Sequence>,
    /// Messages of the log ended as repeats of a waiting one, without a change. All were moving.
    pub(crate) repeats: Vec<Sequence>,
    /// Outcomes of messages ended by changes.
    pub(crate) ended: [u64; Outcome::ALL.len()],
    /// Messages that entered and left the mailbox.
    pub(crate) came: u64,
    pub(crate) left: u64,
}

/// Outcome of messages lost from the log.
const LOST: Outcome = Outcome::Dropped(DropReason::LostFromLog);

impl Tracker {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            before: start.before,
            window: Window::default(),
            left_out: 0,
            read_to: start.next.0,
            ahead: start.ahead,
            counts_lost: start.is_known,
            ended: start.ended,
            position: start.position,
            waiting: start.waiting,
        }
    }

    /// Enters the next message of the log. `None`: its id is unreadable.
    pub(crate) fn read(&mut self, sequence: Sequence, id: Option<MessageId>) -> Read {
        let at = sequence.0;
        if at < self.read_to {
            return Read::Again;
        }
        // Messages that the log has dropped meanwhile never come out again.
        while let Some((missing, position)) = self.ahead.moved_before(at) {
            self.window.push(missing, State::Moved(position));
        }
        self.counts_lost = true;
        let state = match self.ahead.take(at, id) {
            Found::State(state) => state,
            Found::Nothing => State::Open,
            Found::OfAnotherLog => {
                // The other log's message was accepted, and acknowledged long ago.
                self.before += 1;
                State::Open
            }
        };
        self.window.push(at, state);
        self.read_to = at + 1;
        self.before += self.ahead.passed(self.read_to);
        self.advance();
        if state == State::Open { Read::New } else { Read::DealtWith }
    }

    /// Enters sequences lost from the log before any read, and returns the number of messages ended by the
    /// loss: those not yet acknowledged.
    pub(crate) fn lose(&mut self, lost: Range<Sequence>) -> u64 {
        let (mut at, end) = (lost.start.0.max(self.read_to), lost.end.0);
        let before = self.ended[LOST.index()];
        while at < end {
            let moved = self.ahead.moved_before(end);
            let to = moved.map_or(end, |(moved, _)| moved);
            let known = self.ahead.covers(at..to);
            let messages = if self.counts_lost { (to - at).saturating_sub(known) } else { 0 };
            if at < to {
                self.window.push(at, State::Lost { to, messages });
                self.ended[LOST.index()] += messages;
            }
            if let Some((moved, position)) = moved {
                self.window.push(moved, State::Moved(position));
            }
            at = moved.map_or(end, |(moved, _)| moved + 1);
        }
        self.read_to = self.read_to.max(end);
        self.before += self.ahead.passed(self.read_to);
        self.advance();
        self.ended[LOST.index()] - before
    }

    /// Ends a message in the log. True if the message was open.
    pub(crate) fn settle(&mut self, sequence: Sequence, outcome: Outcome) -> bool {
        let is_open = self.is_open(sequence);
        if is_open {
            self.ended[outcome.index()] += 1;
            self.window.deal_with(sequence.0, State::Settled(outcome));
            self.advance();
        }
        is_open
    }

    /// Takes an open message for the writer. False if the message is no longer open.
    pub(crate) fn start_moving(&mut self, sequence: Sequence) -> bool {
        self.window.start_moving(sequence.0)
    }

    /// Enters the durable result of the changes from `from` up to `to`.
    pub(crate) fn enter(&mut self, from: Position, to: Position, entered: &Entered) {
        for sequence in &entered.moved {
            self.window.deal_with(sequence.0, State::Moved(from));
        }
        for sequence in &entered.repeats {
            self.ended[REPEAT.index()] += 1;
            self.window.deal_with(sequence.0, State::Settled(REPEAT));
        }
        for (sum, ended) in self.ended.iter_mut().zip(entered.ended) {
            *sum += ended;
        }
        self.waiting = (self.waiting + entered.came).saturating_sub(entered.left);
        self.position = self.position.max(to);
        self.advance();
    }

    /// True for an open message of the window.
    pub(crate) fn is_open(&self, sequence: Sequence) -> bool {
        self.window.is_open(sequence.0)
    }

    /// True for a sequence of the log, as far as read.
    pub(crate) fn was_read(&self, sequence: Sequence) -> bool {
        (1..self.read_to).contains(&sequence.0)
    }

    /// Open messages, and runs of acknowledged ones in between.
    pub(crate) fn len(&self) -> usize {
        self.window.len()
    }

    /// Oldest open message, while the window is full: `window` entries from there on, or so many acknowledged
    /// messages without room in a commit.
    pub(crate) fn full(&self, window: usize) -> Option<Sequence> {
        let is_full = self.len() >= window || usize::try_from(self.left_out).is_ok_and(|it| it >= window);
        self.window.first().filter(|_| is_full).map(Sequence)
    }

    /// Records the number of messages without room in a snapshot.
    pub(crate) fn leave_out(&mut self, messages: u64) {
        self.left_out = messages;
    }

    /// Sequence after the last one read.
    pub(crate) fn read_to(&self) -> Sequence {
        Sequence(self.read_to)
    }

    /// Messages in the mailbox.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    fn advance(&mut self) {
        while let Some(passed) = self.window.pass() {
            self.before += passed.messages;
        }
    }
}
