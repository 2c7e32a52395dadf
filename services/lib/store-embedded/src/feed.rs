//! Committed messages not yet handed to the consumer: the newest in memory, all in the file.
//!
//! Invariant: every committed message not yet consumed is in the ring, or has a sequence not above `only_in_file`.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{Message, Sequence};
use tokio::sync::Notify;

/// Bounds of the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimit {
    pub(crate) messages: usize,
    pub(crate) octets: usize,
}

#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    limit: RingLimit,
    /// Wakes the consumer. There is at most one, so one permit is enough.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    ring: VecDeque<Arc<Message>>,
    octets: usize,
    /// Highest sequence that has left the ring for want of room, or never entered.
    only_in_file: Sequence,
    /// Highest sequence committed.
    newest: Sequence,
    consumed: bool,
    closed: bool,
}

/// Next step for a consumer.
#[derive(Debug)]
pub(crate) enum Next {
    /// Messages from the ring.
    Messages(Vec<Arc<Message>>),
    /// Messages of the file after the cursor, up to this sequence.
    InFile(Sequence),
    /// None yet.
    Nothing,
    /// None any more: the feed is closed.
    Closed,
}

impl Feed {
    /// Builds a feed whose messages up to `newest` are in the file.
    pub(crate) fn new(limit: RingLimit, newest: Sequence) -> Self {
        let state = State {
            ring: VecDeque::new(),
            octets: 0,
            only_in_file: newest,
            newest,
            consumed: false,
            closed: false,
        };
        Self { state: Mutex::new(state), limit, changed: Notify::new() }
    }

    /// Withdraws messages that left the log before being handed out, and adds committed ones, in the order of the
    /// sequences.
    pub(crate) fn publish(&self, left: &[Sequence], committed: Vec<Arc<Message>>) {
        let mut state = self.lock();
        state.withdraw(left);
        let Some(last) = committed.last() else { return };
        state.newest = last.sequence;
        for message in committed {
            state.octets += message.weight();
            state.ring.push_back(message);
        }
        while state.ring.len() > self.limit.messages || state.octets > self.limit.octets {
            let Some(left_out) = state.ring.pop_front() else { break };
            state.octets -= left_out.weight();
            state.only_in_file = left_out.sequence;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Next messages after `cursor`, at most `limit`.
    pub(crate) fn next(&self, cursor: Sequence, limit: usize) -> Next {
        let mut state = self.lock();
        if cursor < state.only_in_file {
            return Next::InFile(state.only_in_file);
        }
        if state.ring.is_empty() {
            return if state.closed { Next::Closed } else { Next::Nothing };
        }
        let count = limit.min(state.ring.len());
        let messages: Vec<_> = state.ring.drain(..count).collect();
        state.octets -= messages.iter().map(|message| message.weight()).sum::<usize>();
        Next::Messages(messages)
    }

    /// Returns once something may have changed since the last [`Self::next`].
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Closes the feed: nothing is published any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Read position of a consumer that has had everything up to `cursor`: the sequence of the next message, or an
    /// earlier one.
    pub(crate) fn read_to(&self, cursor: Sequence) -> Sequence {
        let state = self.lock();
        let after = |sequence: Sequence| Sequence(sequence.0 + 1);
        if cursor < state.only_in_file {
            return after(cursor);
        }
        state.ring.front().map_or_else(|| after(state.newest.max(cursor)), |message| message.sequence)
    }

    /// Sequence after the newest message that was published: before its append returned.
    pub(crate) fn end(&self) -> Sequence {
        Sequence(self.lock().newest.0 + 1)
    }

    /// Attaches a consumer at the oldest message of the file, and returns the newest sequence; `None` while another
    /// consumer is attached.
    pub(crate) fn attach(&self) -> Option<Sequence> {
        let mut state = self.lock();
        if state.consumed {
            return None;
        }
        state.consumed = true;
        state.ring.clear();
        state.octets = 0;
        state.only_in_file = state.newest;
        Some(state.newest)
    }

    pub(crate) fn detach(&self) {
        self.lock().consumed = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Removes messages from the ring. Rarely finds any: a message that leaves the log has as a rule been handed out.
    fn withdraw(&mut self, left: &[Sequence]) {
        for sequence in left {
            if self.ring.front().is_some_and(|oldest| oldest.sequence <= *sequence)
                && let Ok(at) = self.ring.binary_search_by_key(sequence, |message| message.sequence)
                && let Some(message) = self.ring.remove(at)
            {
                self.octets -= message.weight();
            }
        }
    }
}
