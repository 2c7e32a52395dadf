//! The core of every connection: the messages owed to one user agent, pending and in flight, within limits.
//!
//! Invariant: each message taken over leaves exactly once: settled, expired or handed back. There is no I/O, no clock
//! and no protocol here.

use std::collections::VecDeque;
use std::sync::Arc;

use pushgrid_types::{Message, MessageId, Timestamp};

/// Capacity, in messages, that an empty queue may keep. More is freed, for most connections are idle most of the
/// time.
const KEPT_ROOM: usize = 4;

/// Bounds of one session: pending and in flight together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of messages.
    pub messages: usize,
    /// Largest sum of [`Message::weight`], in octets. An empty session takes any single message, so none is
    /// undeliverable.
    pub octets: usize,
}

/// The messages owed to one user agent connection.
///
/// A message is *pending* from [`Session::offer`] until [`Session::next`] gives it out, and *in flight* from then on
/// until settled by id or by position in the stream, or until the session is closed.
#[derive(Debug)]
pub struct Session {
    pending: VecDeque<Arc<Message>>,
    in_flight: VecDeque<InFlight>,
    octets: usize,
    position: u64,
    limits: Limits,
}

#[derive(Debug)]
struct InFlight {
    position: u64,
    message: Arc<Message>,
}

/// The session is full: the message is handed back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session owes as much as it may")]
pub struct Full(pub Arc<Message>);

/// Next action for the wire.
#[derive(Debug)]
pub enum Next {
    /// Send the message, which is in flight from now on.
    Send {
        /// Place among all messages sent on this session: 1, 2, 3 and so on.
        position: u64,
        /// The message.
        message: Arc<Message>,
    },
    /// The message expired before it was sent: to be settled as expired, and out of the session already.
    Expired(Arc<Message>),
}

impl Session {
    /// An empty session.
    pub const fn new(limits: Limits) -> Self {
        Self { pending: VecDeque::new(), in_flight: VecDeque::new(), octets: 0, position: 0, limits }
    }

    /// Takes a message over. A message with an id that is owed already is not taken twice.
    ///
    /// Fails with the message when the session is full.
    pub fn offer(&mut self, message: Arc<Message>) -> Result<(), Full> {
        if self.owes(message.id) {
            return Ok(());
        }
        let weight = message.weight();
        let fits =
            self.len() < self.limits.messages && self.octets.saturating_add(weight) <= self.limits.octets;
        // An empty session takes any message: one over the limits could never be delivered otherwise.
        if !fits && !self.is_empty() {
            return Err(Full(message));
        }
        self.octets += weight;
        self.pending.push_back(message);
        Ok(())
    }

    /// The next action, in the order of the offers; `None` when nothing is pending. Expiry is checked here, at the
    /// moment of sending (promise P4).
    pub fn next(&mut self, now: Timestamp) -> Option<Next> {
        let message = self.pending.pop_front()?;
        trim(&mut self.pending);
        //= RFC 8030 section 5.2
        //# Once the TTL period elapses, the push service MUST NOT attempt to deliver the push message to the
        //# user agent.
        if message.is_expired(now) {
            self.octets -= message.weight();
            return Some(Next::Expired(message));
        }
        self.position += 1;
        self.in_flight.push_back(InFlight { position: self.position, message: Arc::clone(&message) });
        Some(Next::Send { position: self.position, message })
    }

    /// Ends one message by id, also a pending one: a user agent may acknowledge here a message of an earlier
    /// connection. `None` when the session does not owe the id; the router then judges the id, for an earlier session
    /// may have.
    pub fn settle(&mut self, id: MessageId) -> Option<Arc<Message>> {
        let message = if let Some(index) = self.in_flight.iter().position(|sent| sent.message.id == id) {
            self.in_flight.remove(index)?.message
        } else {
            let index = self.pending.iter().position(|message| message.id == id)?;
            self.pending.remove(index)?
        };
        self.octets -= message.weight();
        trim(&mut self.in_flight);
        trim(&mut self.pending);
        Some(message)
    }

    /// Hands back the pending messages chosen by `chosen`, in the order of the offers.
    pub fn drop_pending(&mut self, chosen: impl Fn(&Message) -> bool) -> Vec<Arc<Message>> {
        let dropped: Vec<_> = self.pending.iter().filter(|message| chosen(message)).cloned().collect();
        if !dropped.is_empty() {
            self.pending.retain(|message| !chosen(message));
            self.octets -= dropped.iter().map(|message| message.weight()).sum::<usize>();
            trim(&mut self.pending);
        }
        dropped
    }

    /// Ends every message sent at `position` or before, oldest first.
    pub fn settle_through(&mut self, position: u64) -> Vec<Arc<Message>> {
        let count = self.in_flight.partition_point(|sent| sent.position <= position);
        let ended: Vec<_> = self.in_flight.drain(..count).map(|sent| sent.message).collect();
        self.octets -= ended.iter().map(|message| message.weight()).sum::<usize>();
        trim(&mut self.in_flight);
        ended
    }

    /// Hands back every message that did not end, in the order of the offers, and leaves the session empty.
    pub fn close(&mut self) -> Vec<Arc<Message>> {
        self.octets = 0;
        let sent = std::mem::take(&mut self.in_flight).into_iter().map(|sent| sent.message);
        sent.chain(std::mem::take(&mut self.pending)).collect()
    }

    /// Messages owed: pending and in flight.
    pub fn len(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    /// True when no message is owed.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_empty()
    }

    /// True when a message waits to be sent.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Number of messages in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Sum of the weights owed, in octets by [`Message::weight`].
    pub const fn octets(&self) -> usize {
        self.octets
    }

    fn owes(&self, id: MessageId) -> bool {
        self.in_flight.iter().any(|sent| sent.message.id == id)
            || self.pending.iter().any(|message| message.id == id)
    }
}

/// Frees the capacity of an emptied queue.
fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT_ROOM {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests;
