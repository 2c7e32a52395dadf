use std::collections::VecDeque;
use std::sync::Arc;

use pushgrid_types::{Message, MessageId, Timestamp};

/// Room that an empty queue may keep, in messages. More is given back, for most connections are idle most of the time.
const KEPT_ROOM: usize = 4;

/// How much one session may owe its user agent at once: waiting and on the wire together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub messages: usize,
    /// Octets, by [`Message::weight`]. A single message is always taken, so that none is too large to be delivered.
    pub octets: usize,
}

/// What one user agent connection is owed.
///
/// A message is *pending* from [`Session::offer`] until [`Session::next`] gives it out, and *in flight* from then on
/// until it is settled by its id or by its position in the stream, or the session is closed.
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

/// A session that owes as much as it may: the message is handed back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session owes as much as it may")]
pub struct Full(pub Arc<Message>);

/// What comes next for the wire.
#[derive(Debug)]
pub enum Next {
    /// Send this. It is in flight from now on.
    Send {
        /// Its place among all that was sent on this session: 1, 2, 3 and so on.
        position: u64,
        /// The message.
        message: Arc<Message>,
    },
    /// This one's life ended before it could be sent: it is to be settled as expired, and has left the session.
    Expired(Arc<Message>),
}

impl Session {
    /// A session that owes nothing.
    pub const fn new(limits: Limits) -> Self {
        Self { pending: VecDeque::new(), in_flight: VecDeque::new(), octets: 0, position: 0, limits }
    }

    /// Takes a message over. One that is owed already (the same id) is taken once.
    pub fn offer(&mut self, message: Arc<Message>) -> Result<(), Full> {
        if self.owes(message.id) {
            return Ok(());
        }
        let weight = message.weight();
        let fits =
            self.len() < self.limits.messages && self.octets.saturating_add(weight) <= self.limits.octets;
        if !fits && !self.is_empty() {
            return Err(Full(message));
        }
        self.octets += weight;
        self.pending.push_back(message);
        Ok(())
    }

    /// What to do next, in the order of the offers; `None` when nothing is pending. Expiry is checked here, at the
    /// moment of sending (promise P4).
    pub fn next(&mut self, now: Timestamp) -> Option<Next> {
        let message = self.pending.pop_front()?;
        trim(&mut self.pending);
        if message.is_expired(now) {
            self.octets -= message.weight();
            return Some(Next::Expired(message));
        }
        self.position += 1;
        self.in_flight.push_back(InFlight { position: self.position, message: Arc::clone(&message) });
        Some(Next::Send { position: self.position, message })
    }

    /// Ends one message by its id, pending ones too: a user agent may acknowledge here what an earlier connection
    /// sent it. `None` when the session does not owe it; then an earlier one may have, so the id is the router's to
    /// judge.
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

    /// Ends everything sent at `position` or before it, oldest first.
    pub fn settle_through(&mut self, position: u64) -> Vec<Arc<Message>> {
        let count = self.in_flight.partition_point(|sent| sent.position <= position);
        let ended: Vec<_> = self.in_flight.drain(..count).map(|sent| sent.message).collect();
        self.octets -= ended.iter().map(|message| message.weight()).sum::<usize>();
        trim(&mut self.in_flight);
        ended
    }

    /// Hands back all that did not end, in the order of the offers, and owes nothing any more.
    pub fn close(&mut self) -> Vec<Arc<Message>> {
        self.octets = 0;
        let sent = std::mem::take(&mut self.in_flight).into_iter().map(|sent| sent.message);
        sent.chain(std::mem::take(&mut self.pending)).collect()
    }

    /// Messages owed: pending and in flight.
    pub fn len(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_empty()
    }

    /// Whether something waits to be sent.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Messages on the wire.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What is owed, in octets by [`Message::weight`].
    pub const fn octets(&self) -> usize {
        self.octets
    }

    fn owes(&self, id: MessageId) -> bool {
        self.in_flight.iter().any(|sent| sent.message.id == id)
            || self.pending.iter().any(|message| message.id == id)
    }
}

/// Gives the room of an emptied queue back.
fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT_ROOM {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests;
