//! What has been committed and not yet been handed to the consumer: the newest of it in memory, all of it in the
//! file.
//!
//! Invariant: every committed message that the consumer has not had is in the ring, or its sequence is not above
//! `only_in_file`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pushgrid_types::{Message, Sequence};
use tokio::sync::Notify;

/// The bounds of the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimit {
    pub(crate) messages: usize,
    pub(crate) octets: usize,
}

#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    limit: RingLimit,
    /// Wakes the consumer. There is at most one, so that one permit is enough.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    ring: VecDeque<Arc<Message>>,
    octets: usize,
    /// The highest sequence that has left the ring for want of room, or was never in it.
    only_in_file: Sequence,
    /// The highest sequence that was committed.
    newest: Sequence,
    consumed: bool,
    closed: bool,
}

/// What there is for a consumer.
#[derive(Debug)]
pub(crate) enum Next {
    /// These.
    Messages(Vec<Arc<Message>>),
    /// What the file has after the cursor, up to this sequence.
    InFile(Sequence),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Closed,
}

impl Feed {
    /// A feed whose messages up to `newest` are in the file.
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

    /// Takes out what has left the log before it was handed out, and adds what was committed, in the order of the
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

    /// What comes after `cursor`, at most `limit` messages.
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

    /// Returns when something may have changed since the last [`Self::next`].
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Nothing will be published any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Lets a consumer begin at the oldest message of the file; says no while there is another one.
    pub(crate) fn attach(&self) -> bool {
        let mut state = self.lock();
        if state.consumed {
            return false;
        }
        state.consumed = true;
        state.ring.clear();
        state.octets = 0;
        state.only_in_file = state.newest;
        true
    }

    pub(crate) fn detach(&self) {
        self.lock().consumed = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Rarely finds anything: what leaves the log has as a rule been handed out.
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
