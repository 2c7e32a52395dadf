//! Send queue of one node: queued messages and evictions, and frames in flight, without I/O.
//! Invariant: at most [`NodesConfig::queue_messages`] and [`NodesConfig::queue_octets`] are held, and every message
//! taken stays until its frame is acknowledged or the queue is closed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use pushgrid_store::{Eviction, NotDelivered};
use pushgrid_types::{Message, Partition, SessionId};
use tokio::time::Instant;

use super::NodesConfig;

/// Bound of queued evictions. A session has one or two at most, so more means that the node takes none.
const EVICTIONS: usize = 65_536;

/// Most evictions in one frame.
const FRAME_EVICTIONS: usize = 1024;

/// Send queue of one node and its unanswered frames. Without I/O.
///
/// Invariant: `unanswered` holds all frames made and not acknowledged, in the order of their numbers; those from
/// `unsent` on have not been sent on the present stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    taking: Taking,
    /// Number of the present stream. An earlier stream gets nothing more.
    stream: u64,
    /// Waker of the present stream's writer, while the writer waits for work.
    writer: Option<Waker>,
    greeted: bool,
    announce: BTreeSet<Partition>,
    waiting: VecDeque<(SessionId, Arc<Message>)>,
    evictions: VecDeque<(SessionId, Eviction)>,
    unanswered: VecDeque<Sent>,
    unsent: usize,
    /// Number of the last frame.
    last: u64,
    /// Messages and octets queued or in flight.
    messages: usize,
    octets: usize,
    /// Time at which the node last made progress, or had nothing to take.
    progress: Option<Instant>,
    overflown: bool,
}

/// State of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Taking {
    /// Given up; may be opened again.
    #[default]
    No,
    /// The node has a stream, or is expected to get one soon.
    Yes,
    /// Closed for good.
    Never,
}

/// Frame in flight or to be sent again.
#[derive(Debug)]
struct Sent {
    work: Arc<Work>,
    octets: usize,
}

/// Content of a numbered frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) number: u64,
    pub(super) deliveries: Vec<(SessionId, Arc<Message>)>,
    pub(super) evictions: Vec<(SessionId, Eviction)>,
}

/// Next thing to send to the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Hello,
    Announce(Vec<Partition>),
    Work(Arc<Work>),
    /// Nothing now; the writer is woken when there is work.
    Wait,
    /// A newer stream has taken over.
    End,
}

impl Queue {
    /// Starts a stream: all unanswered frames are sent again, after the request for the sessions of `owned`. Returns
    /// the number of the stream, and the waker of the previous writer.
    pub(super) fn begin(&mut self, owned: BTreeSet<Partition>) -> (u64, Option<Waker>) {
        self.stream += 1;
        self.greeted = false;
        self.announce = owned;
        self.unsent = 0;
        (self.stream, self.writer.take())
    }

    /// Opens the queue to messages: the stream stands, or is expected to. Returns `true` if the queue was not open. No
    /// effect once ended.
    pub(super) fn open(&mut self) -> bool {
        let opens = self.taking == Taking::No;
        if opens {
            self.taking = Taking::Yes;
        }
        opens
    }

    /// Messages queued or in flight.
    pub(super) const fn len(&self) -> usize {
        self.messages
    }

    pub(super) fn is_open(&self) -> bool {
        self.taking == Taking::Yes
    }

    /// Closes the queue, drops its content, and ends the stream. Returns the writer's waker.
    pub(super) fn close(&mut self) -> Option<Waker> {
        let (stream, last) = (self.stream + 1, self.last);
        let taking = if self.has_ended() { Taking::Never } else { Taking::No };
        let old = std::mem::replace(self, Self { taking, stream, last, ..Self::default() });
        old.writer
    }

    /// Closes the queue for good, as [`Self::close`].
    pub(super) fn end(&mut self) -> Option<Waker> {
        self.taking = Taking::Never;
        self.close()
    }

    /// True once closed for good.
    pub(super) fn has_ended(&self) -> bool {
        self.taking == Taking::Never
    }

    /// Queues a message. A waker that is returned must be woken without holding the lock. [`NotDelivered::Busy`] when
    /// the bounds are reached.
    pub(super) fn deliver(
        &mut self,
        to: SessionId,
        message: &Arc<Message>,
        config: &NodesConfig,
    ) -> Result<Option<Waker>, NotDelivered> {
        if !self.is_open() {
            return Err(NotDelivered::NotHere);
        }
        let octets = message.weight();
        // A message larger than the bound still passes when alone.
        if self.messages >= config.queue_messages || self.octets + octets > config.queue_octets.max(octets) {
            return Err(NotDelivered::Busy);
        }
        self.messages += 1;
        self.octets += octets;
        self.waiting.push_back((to, Arc::clone(message)));
        Ok(self.writer.take())
    }

    pub(super) fn evict(&mut self, session: SessionId, why: Eviction) -> Option<Waker> {
        if !self.is_open() {
            return None;
        }
        if self.evictions.len() >= EVICTIONS {
            self.overflown = true;
            return None;
        }
        self.evictions.push_back((session, why));
        self.writer.take()
    }

    /// Queues a request for the sessions of a partition, on the present stream.
    pub(super) fn announce(&mut self, partition: Partition) -> Option<Waker> {
        self.announce.insert(partition);
        self.writer.take()
    }

    pub(super) fn announce_no_more(&mut self, partition: Partition) {
        self.announce.remove(&partition);
    }

    /// Next thing for the writer of `stream` to send.
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
        // After a reconnect: frames in flight go again before new ones, to keep the order.
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

    /// Packs queued messages and evictions into a frame.
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

    /// Acknowledges frame `number` and all before it. Fails when no such frame was sent on this stream. Returns a waker
    /// as [`Self::deliver`].
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

    /// Restarts the node's deadline at `now`: this router did not read, so the node is not at fault.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.progress = Some(now);
    }

    /// True when the node has left a frame unanswered for [`NodesConfig::node_timeout`].
    pub(super) fn is_overdue(&self, config: &NodesConfig, now: Instant) -> bool {
        let since = self.progress.filter(|_| !self.unanswered.is_empty());
        since.is_some_and(|since| now.duration_since(since) >= config.node_timeout)
    }

    /// True once an eviction was dropped for want of room: sessions of the node must be given up.
    pub(super) fn is_overflown(&self) -> bool {
        self.overflown
    }
}

/// Acknowledgement of a frame that was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSent;

#[cfg(test)]
mod tests;
