//! What a router knows of the user agents of one partition: who is connected, what is in flight to them, what is
//! on its way into the mailbox. A state machine without I/O: events go in by its verbs (one file each), the work
//! that they cause comes out as [`Work`], and what that work came to goes in again.
//!
//! Invariant: a message is in exactly one place: in the log and in a window, in the log and in `storing`, or in the
//! mailbox (and perhaps in a window too). Whatever takes it out of its last place gives it its outcome.
//! Invariant: a message that has ended is not sent again, even while its end is not durable yet.
//! Invariant: a session is [`Backlog::None`] only when all that the mailbox holds for its user agent has been sent on
//! that very session; only then do messages go straight from the log to the socket.

mod cancel;
mod close;
mod ending;
mod open;
mod page;
mod route;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod unsubscribe;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{Cancelled, NodeLink, PageLimit};
use pushgrid_types::{
    ChannelId, Epoch, Message, MessageId, MessageRef, Outcome, Sequence, SessionRef, Timestamp, Topic,
    UserAgentId,
};
use tokio::sync::oneshot;

pub(crate) use route::Routable;

/// The bounds of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages sent to one session and not acknowledged.
    pub(crate) window: usize,
    /// How long a message may stay in flight without being stored.
    pub(crate) ack_timeout: Duration,
    /// How much is read from the mailbox at a time.
    pub(crate) page: PageLimit,
    /// How long a cancellation waits for a message that has not come out of the log, when nothing comes.
    pub(crate) cancel_grace: Duration,
    /// How many cancellations wait like that.
    pub(crate) early_cancels: usize,
    /// How long after a take-over, and how many, ends of messages are remembered that have not come out of the log.
    pub(crate) early_ends_for: Duration,
    pub(crate) early_ends: usize,
}

/// The state of one partition.
#[derive(Debug)]
pub(crate) struct Partition {
    limits: Limits,
    agents: HashMap<UserAgentId, Agent>,
    /// How many of them have a session.
    sessions: usize,
    /// User agents with something in flight, by the time at which to look after them; each at most once.
    watched: VecDeque<(Timestamp, UserAgentId)>,
    /// Everything up to here has come out of the log.
    routed: Sequence,
    /// Cancellations of messages that nobody has seen yet.
    early: HashMap<MessageId, EarlyCancel>,
    /// What ended on a socket before this owner of the partition had read it from the log: an earlier owner had sent
    /// it. Until a while after the take-over, so that what was acknowledged meanwhile is not sent again.
    early_ends: HashMap<MessageId, Outcome>,
    early_ends_until: Option<Timestamp>,
    /// Messages that have ended and may still be in a page, by how many calls are taking them out of the mailbox.
    ending: HashMap<MessageId, u32>,
    /// Of these, those that are out of it, while a page of their user agent was being read.
    ended_while_reading: HashMap<UserAgentId, Vec<MessageId>>,
    work: Work,
    tally: Tally,
}

/// A user agent that is connected, or has messages on their way into the mailbox.
#[derive(Debug, Default)]
struct Agent {
    session: Option<Box<Session>>,
    storing: Vec<Storing>,
    watched: bool,
}

/// The socket that holds a user agent.
#[derive(Debug)]
struct Session {
    at: SessionRef,
    epoch: Epoch,
    opened_at: Timestamp,
    /// Sent and not acknowledged, oldest first.
    window: VecDeque<InFlight>,
    /// Everything stored up to here has been sent on this session, or has ended.
    cursor: Sequence,
    backlog: Backlog,
}

/// Whether the mailbox holds messages that this session has not been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// No.
    None,
    /// Perhaps: a page has to be read when there is room.
    Some,
    /// A page is being read. `bound`: nothing at or after it counts, for earlier messages were still on their way
    /// into the mailbox. `again`: something was stored since the read began.
    Reading { bound: Sequence, again: bool },
}

/// A message on the wire.
#[derive(Debug)]
struct InFlight {
    id: MessageId,
    sequence: Sequence,
    channel: ChannelId,
    sent_at: Timestamp,
    accepted_at: Timestamp,
    expires_at: Timestamp,
    place: Place,
}

impl InFlight {
    fn new(message: &Message, sent_at: Timestamp, place: Place) -> Self {
        Self {
            id: message.id,
            sequence: message.sequence,
            channel: message.to.channel,
            sent_at,
            accepted_at: message.accepted_at,
            expires_at: message.expires_at,
            place,
        }
    }
}

/// Where the durable copy of a message in flight is.
#[derive(Debug)]
enum Place {
    /// In the log: it has to be stored if the session ends.
    Log(Arc<Message>),
    /// On its way from the log to the mailbox: listed in [`Agent::storing`] too.
    Moving,
    /// In the mailbox.
    Mailbox(Option<Topic>),
}

/// A message on its way from the log to the mailbox.
#[derive(Debug)]
struct Storing {
    id: MessageId,
    sequence: Sequence,
    /// It ended on the way, and is to be taken out again.
    ended: Option<Outcome>,
}

/// A cancellation that looks into the mailbox.
#[derive(Debug)]
pub(crate) struct Cancelling {
    message: MessageRef,
    /// Whether the message had come out of the log when the look began.
    routed: bool,
    reply: oneshot::Sender<Cancelled>,
}

/// A cancellation of a message that has not come out of the log.
#[derive(Debug)]
struct EarlyCancel {
    until: Timestamp,
    sequence: Sequence,
    /// What had come out when it was last looked at: while more comes, the message may come too.
    routed: Sequence,
    reply: oneshot::Sender<Cancelled>,
}

/// What the events of a turn ask of the stores.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Messages that ended without leaving the log.
    pub(crate) settle_log: Vec<(Sequence, Outcome)>,
    /// Messages to move from the log to the mailbox; the answer goes to [`Partition::stored`].
    pub(crate) store: Vec<Arc<Message>>,
    /// Who waits until all of `store` is done.
    pub(crate) after_store: Vec<oneshot::Sender<()>>,
    /// Messages to end in the mailbox.
    pub(crate) settle_mailbox: Vec<SettleStored>,
    /// Pages to read; the answer goes to [`Partition::page`].
    pub(crate) pages: Vec<PageRequest>,
    /// Claims to give back.
    pub(crate) releases: Vec<(UserAgentId, Epoch)>,
}

/// Messages of one user agent to end in the mailbox.
#[derive(Debug)]
pub(crate) struct SettleStored {
    pub(crate) user_agent: UserAgentId,
    pub(crate) ended: Vec<(MessageId, Outcome)>,
    /// A cancellation that wants to know whether the message was there; goes to [`Partition::cancel_met`].
    pub(crate) cancel: Option<Cancelling>,
}

/// A page to read from the mailbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest {
    pub(crate) user_agent: UserAgentId,
    pub(crate) session: SessionRef,
    pub(crate) after: Sequence,
    pub(crate) limit: PageLimit,
}

/// What the turns since the last look came to, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) direct: u64,
    pub(crate) stored: u64,
    pub(crate) ended: u64,
    pub(crate) not_here: u64,
    pub(crate) busy: u64,
    /// From acceptance to acknowledgement, of each message delivered.
    pub(crate) delivered: Vec<Duration>,
}

/// What every verb is given: the time of the turn, and the way to the nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    pub(crate) nodes: &'a dyn NodeLink,
}

impl Partition {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            agents: HashMap::new(),
            sessions: 0,
            watched: VecDeque::new(),
            routed: Sequence::default(),
            early: HashMap::new(),
            early_ends: HashMap::new(),
            early_ends_until: None,
            ending: HashMap::new(),
            ended_while_reading: HashMap::new(),
            work: Work::default(),
            tally: Tally::default(),
        }
    }

    /// The work that has come up since the last call.
    pub(crate) fn take_work(&mut self) -> Work {
        self.note_ending();
        std::mem::take(&mut self.work)
    }

    /// The tally since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// How many sessions there are, and how many messages are in flight to them. Looks only at the user agents that
    /// have something in flight: idle ones cost nothing here either.
    pub(crate) fn population(&self) -> (usize, usize) {
        let busy = self.watched.iter().filter_map(|(_, user_agent)| self.agents.get(user_agent));
        let windows = busy.filter_map(|agent| agent.session.as_ref()).map(|session| session.window.len());
        (self.sessions, windows.sum())
    }

    /// Forgets a user agent that has neither a session nor messages on their way.
    fn forget_if_idle(&mut self, user_agent: UserAgentId) {
        if self
            .agents
            .get(&user_agent)
            .is_some_and(|agent| agent.session.is_none() && agent.storing.is_empty())
        {
            self.agents.remove(&user_agent);
        }
    }
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.settle_log.is_empty()
            && self.store.is_empty()
            && self.after_store.is_empty()
            && self.settle_mailbox.is_empty()
            && self.pages.is_empty()
            && self.releases.is_empty()
    }

    /// Ends a message that is in the mailbox.
    fn end_stored(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) {
        match self.settle_mailbox.last_mut() {
            Some(last) if last.user_agent == user_agent && last.cancel.is_none() => {
                last.ended.push((id, outcome));
            }
            _ => self.settle_mailbox.push(SettleStored {
                user_agent,
                ended: vec![(id, outcome)],
                cancel: None,
            }),
        }
    }
}

impl Agent {
    /// Starts moving `message` from the log to the mailbox.
    fn store(&mut self, message: Arc<Message>, work: &mut Work) {
        self.storing.push(Storing { id: message.id, sequence: message.sequence, ended: None });
        work.store.push(message);
        match self.session.as_deref_mut().map(|session| &mut session.backlog) {
            Some(Backlog::Reading { again, .. }) => *again = true,
            Some(backlog) => *backlog = Backlog::Some,
            None => {}
        }
    }
}

impl Session {
    fn has_room(&self, limits: &Limits) -> bool {
        self.window.len() < limits.window
    }

    fn find(&self, id: MessageId) -> Option<usize> {
        self.window.iter().position(|message| message.id == id)
    }

    /// Takes a message out of the window. An empty window gives its memory back: most sessions are idle.
    fn take(&mut self, index: usize) -> InFlight {
        let message = self.window.remove(index).expect("the index was found in this window");
        if self.window.is_empty() {
            self.window = VecDeque::new();
        }
        message
    }
}
