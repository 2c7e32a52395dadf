use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use pushgrid_store::{Eviction, NotDelivered};
use pushgrid_types::{Message, Partition, SessionId};
use tokio::time::Instant;

use super::NodesConfig;

/// Evictions that may wait for one node. Each session has at most one or two: more means that the node takes none.
const EVICTIONS: usize = 65_536;

/// Evictions in one frame.
const FRAME_EVICTIONS: usize = 1024;

/// What waits for one node, and what it has not answered. Knows nothing of the network.
///
/// Invariant: all frames that were made and not answered are in `unanswered`, in the order of their numbers; those
/// from `unsent` on have not been sent on the present stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whether messages are taken.
    open: bool,
    /// The present stream. An earlier one gets nothing any more.
    stream: u64,
    /// Who writes to the present stream, if it waits for work.
    writer: Option<Waker>,
    greeted: bool,
    announce: BTreeSet<Partition>,
    waiting: VecDeque<(SessionId, Arc<Message>)>,
    evictions: VecDeque<(SessionId, Eviction)>,
    unanswered: VecDeque<Sent>,
    unsent: usize,
    /// The number of the last frame.
    last: u64,
    /// Messages and octets that wait or are not answered.
    messages: usize,
    octets: usize,
    /// When the node was last seen to take something, or had nothing to take.
    progress: Option<Instant>,
    overflown: bool,
}

/// A frame that was made.
#[derive(Debug)]
struct Sent {
    work: Arc<Work>,
    octets: usize,
}

/// What a numbered frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) number: u64,
    pub(super) deliveries: Vec<(SessionId, Arc<Message>)>,
    pub(super) evictions: Vec<(SessionId, Eviction)>,
}

/// What goes to the node next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Hello,
    Announce(Vec<Partition>),
    Work(Arc<Work>),
    /// Nothing now; the writer is woken when there is something.
    Wait,
    /// Another stream has taken over.
    End,
}

impl Queue {
    /// Begins a stream: everything unanswered goes again, after `owned` is asked for. Answers its number, and who wrote
    /// to the one before.
    pub(super) fn begin(&mut self, owned: BTreeSet<Partition>) -> (u64, Option<Waker>) {
        self.stream += 1;
        self.greeted = false;
        self.announce = owned;
        self.unsent = 0;
        (self.stream, self.writer.take())
    }

    /// The stream stands: messages are taken from now on.
    pub(super) fn open(&mut self) {
        self.open = true;
    }

    /// Messages that wait or are not answered.
    pub(super) const fn len(&self) -> usize {
        self.messages
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Takes nothing any more, forgets everything, and ends the stream. Answers who wrote to it.
    pub(super) fn close(&mut self) -> Option<Waker> {
        let (stream, last) = (self.stream + 1, self.last);
        let old = std::mem::replace(self, Self { stream, last, ..Self::default() });
        old.writer
    }

    /// Takes a message. The waker, if there is one, is to be woken without the lock.
    pub(super) fn deliver(
        &mut self,
        to: SessionId,
        message: &Arc<Message>,
        config: &NodesConfig,
    ) -> Result<Option<Waker>, NotDelivered> {
        if !self.open {
            return Err(NotDelivered::NotHere);
        }
        let octets = message.weight();
        if self.messages >= config.queue_messages || self.octets + octets > config.queue_octets.max(octets) {
            return Err(NotDelivered::Busy);
        }
        self.messages += 1;
        self.octets += octets;
        self.waiting.push_back((to, Arc::clone(message)));
        Ok(self.writer.take())
    }

    pub(super) fn evict(&mut self, session: SessionId, why: Eviction) -> Option<Waker> {
        if !self.open {
            return None;
        }
        if self.evictions.len() >= EVICTIONS {
            self.overflown = true;
            return None;
        }
        self.evictions.push_back((session, why));
        self.writer.take()
    }

    /// Asks for the sessions of a partition, on the present stream.
    pub(super) fn announce(&mut self, partition: Partition) -> Option<Waker> {
        self.announce.insert(partition);
        self.writer.take()
    }

    pub(super) fn announce_no_more(&mut self, partition: Partition) {
        self.announce.remove(&partition);
    }

    /// What the writer of `stream` sends next.
    pub(super) fn next(&mut self, stream: u64, config: &NodesConfig, now: Instant, writer: &Waker) -> Next {
        if stream != self.stream {
            return Next::End;
        }
        if !self.greeted {
            self.greeted = true;
            return Next::Hello;
        }
        if !self.announce.is_empty() {
            return Next::Announce(std::mem::take(&mut self.announce).into_iter().collect());
        }
        if self.unsent < self.unanswered.len() {
            self.unsent += 1;
            return Next::Work(Arc::clone(&self.unanswered[self.unsent - 1].work));
        }
        let idle = self.waiting.is_empty() && self.evictions.is_empty();
        if idle || self.unanswered.len() >= config.in_flight {
            self.writer = Some(writer.clone());
            return Next::Wait;
        }
        Next::Work(self.pack(config, now))
    }

    /// Makes a frame of what waits.
    fn pack(&mut self, config: &NodesConfig, now: Instant) -> Arc<Work> {
        let (mut count, mut octets) = (0, 0);
        for (_, message) in self.waiting.iter().take(config.frame_messages) {
            if count > 0 && octets + message.weight() > config.frame_octets {
                break;
            }
            count += 1;
            octets += message.weight();
        }
        let deliveries = self.waiting.drain(..count).collect();
        let evictions = self.evictions.drain(..self.evictions.len().min(FRAME_EVICTIONS)).collect();
        self.last += 1;
        if self.unanswered.is_empty() {
            self.progress = Some(now);
        }
        let work = Arc::new(Work { number: self.last, deliveries, evictions });
        self.unanswered.push_back(Sent { work: Arc::clone(&work), octets });
        self.unsent = self.unanswered.len();
        work
    }

    /// The node has dealt with the frame `number` and all before it. Fails when no such frame was sent on this
    /// stream. Answers a waker as [`Self::deliver`] does.
    pub(super) fn taken(&mut self, number: u64, now: Instant) -> Result<Option<Waker>, NotSent> {
        let sent = self.unanswered.iter().take(self.unsent);
        let count = sent.take_while(|sent| sent.work.number <= number).count();
        if count == 0 || self.unanswered[count - 1].work.number != number {
            return Err(NotSent);
        }
        for sent in self.unanswered.drain(..count) {
            self.messages -= sent.work.deliveries.len();
            self.octets -= sent.octets;
        }
        self.unsent -= count;
        self.progress = Some(now);
        Ok(self.writer.take())
    }

    /// The node could not be heard until `now`, through no fault of its own.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.progress = Some(now);
    }

    /// Whether the node has left a frame unanswered for too long.
    pub(super) fn is_overdue(&self, config: &NodesConfig, now: Instant) -> bool {
        let since = self.progress.filter(|_| !self.unanswered.is_empty());
        since.is_some_and(|since| now.duration_since(since) >= config.node_timeout)
    }

    /// Whether it had to drop something that must not be dropped.
    pub(super) fn is_overflown(&self) -> bool {
        self.overflown
    }
}

/// The node answers a frame that it cannot have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSent;

#[cfg(test)]
mod tests;
