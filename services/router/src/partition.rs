//! Delivery state of the user agents of one partition: sessions, messages in flight, messages on the way into
//! the mailbox. A state machine without I/O of its own: events go in by its verbs (one file each), calls of a
//! store come out as [`Work`], and the results of these calls go in again. Only `NodeLink` is called inside a
//! turn, and never waits.
//!
//! Invariant: a message is in exactly one place: in the log and in a window, in the log and in `storing`, or
//! in the mailbox (and perhaps in a window too). Removing a message from the last place gives the message its
//! outcome.
//! Invariant: a message that has ended is not sent again, even while its end is not durable yet.
//! Invariant: an urgency is out of the [`Backlog`] of a session only when everything of it in the mailbox of its user
//! agent has been sent on this very session; only then do its messages go straight from the log to the socket.
//! Invariant: a message below the urgency that the user agent takes is not sent; it waits in the mailbox.
//! Invariant: nothing is sent from the mailbox before all older messages have come out of the log. An earlier
//! owner may have stored newer messages than the oldest one in flight, which the log hands out again.

mod backlog;
mod cancel;
mod close;
mod early_ends;
mod ending;
mod log_end;
mod open;
mod page;
mod read;
mod route;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod unsubscribe;
mod urgency;
mod work;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{NodeLink, PageLimit};
use pushgrid_types::{
    ChannelId, Epoch, Message, MessageId, MessageRef, Outcome, ReplaceKey, Sequence, SessionRef, Timestamp,
    TraceParent, Urgency, UserAgentId,
};

use backlog::Backlog;
use early_ends::EarlyEnds;
use log_end::{Behind, TopicBound};
pub(crate) use read::Found;
pub(crate) use route::Routable;
pub(crate) use work::{CancelAnswer, CancelReply, EndAsker, PageRequest, SettleStored, Work};

/// Key of a message within its user agent. The id alone would let one user agent name the message of another.
type Named = (UserAgentId, MessageId);

/// Bounds of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most messages in flight to one session.
    pub(crate) window: usize,
    /// Time in flight after which a message is stored.
    pub(crate) ack_timeout: Duration,
    /// Bound of one page of the mailbox.
    pub(crate) page: PageLimit,
    /// Time that a cancellation waits for a message to come out of the log, while the log yields nothing.
    pub(crate) cancel_grace: Duration,
    /// Most cancellations waiting for the log.
    pub(crate) early_cancels: usize,
    /// Most ends remembered of messages not yet re-read from the log after a take-over.
    pub(crate) early_ends: usize,
    /// Most such ends of one user agent.
    pub(crate) early_ends_each: usize,
}

/// Delivery state of one partition.
///
/// The verbs are given the way to the nodes ([`NodeLink`]) and hand messages over in the midst of a turn,
/// where other effects come out as [`Work`]. The turn stays without I/O, for [`NodeLink::deliver`] never
/// waits; and the answer decides at once where a message is: in the window, or on the way into the mailbox.
/// As work, the answer would come after the turn, when newer messages of the user agent may have been decided
/// on.
#[derive(Debug)]
pub(crate) struct Partition {
    limits: Limits,
    agents: HashMap<UserAgentId, Agent>,
    /// User agents with a session.
    sessions: usize,
    /// User agents with messages in flight, by the time of the next check; each at most once.
    watched: VecDeque<(Timestamp, UserAgentId)>,
    /// Low watermark: no message before this sequence can still come out of the log.
    read_to: Sequence,
    /// During the replay of an earlier owner's log: sessions held back until the log is read beyond the next
    /// stored message of each, by the sequence of this message.
    held: BTreeSet<(Sequence, UserAgentId)>,
    /// User agents whose node had no room in the middle of a page; read on at the next sweep. At most one
    /// entry for each page read.
    pushed_back: Vec<UserAgentId>,
    /// Cancellations of messages not out of the log yet.
    early: HashMap<Named, EarlyCancel>,
    early_ends: EarlyEnds,
    behind: Behind,
    /// Ended messages, possibly still in a page, with the number of calls removing each from the mailbox.
    ending: HashMap<Named, u32>,
    /// Messages of `ending` removed while a page of the user agent was being read.
    ended_while_reading: HashMap<UserAgentId, Vec<MessageId>>,
    work: Work,
    tally: Tally,
}

/// User agent with a session or with messages on the way into the mailbox.
#[derive(Debug, Default)]
struct Agent {
    session: Option<Box<Session>>,
    storing: Vec<Storing>,
    watched: bool,
}

/// Session of a user agent.
#[derive(Debug)]
struct Session {
    at: SessionRef,
    epoch: Epoch,
    opened_at: Timestamp,
    /// Messages in flight, oldest first.
    window: VecDeque<InFlight>,
    backlog: Backlog,
    topic_bound: TopicBound,
}

/// Message in flight.
#[derive(Debug)]
struct InFlight {
    id: MessageId,
    channel: ChannelId,
    sequence: Sequence,
    urgency: Urgency,
    sent_at: Timestamp,
    accepted_at: Timestamp,
    expires_at: Timestamp,
    /// Trace of the sender, for the end.
    trace: Option<TraceParent>,
    place: Place,
}

impl InFlight {
    fn new(message: &Message, sent_at: Timestamp, place: Place) -> Self {
        Self {
            id: message.id,
            channel: message.to.channel,
            sequence: message.sequence,
            urgency: message.urgency,
            sent_at,
            accepted_at: message.accepted_at,
            expires_at: message.expires_at,
            trace: message.content.trace_parent.clone(),
            place,
        }
    }
}

/// Place of the durable copy of a message in flight.
#[derive(Debug)]
enum Place {
    /// In the log: stored if the session ends.
    Log(Arc<Message>),
    /// On the way from the log to the mailbox: listed in [`Agent::storing`] too.
    Moving,
    /// In the mailbox.
    Mailbox(Option<ReplaceKey>),
}

/// Message on the way from the log to the mailbox.
#[derive(Debug)]
struct Storing {
    id: MessageId,
    sequence: Sequence,
    channel: ChannelId,
    urgency: Urgency,
    topic: Option<ReplaceKey>,
    /// Outcome of a message ended on the way, and removed once stored.
    ended: Option<Outcome>,
    /// Cancellation that ended the message, answered once the message is removed.
    cancel: Option<CancelReply>,
}

/// Cancellation waiting for the mailbox's answer.
#[derive(Debug)]
pub(crate) struct Cancelling {
    message: MessageRef,
    /// Set if the message had come out of the log when the mailbox was asked.
    routed: bool,
    /// Set if the message was in flight from the mailbox, or on the way there: the message ends in any case, and is not
    /// sent again.
    was_stored: bool,
    reply: CancelReply,
}

/// Cancellation of a message not out of the log yet.
#[derive(Debug)]
struct EarlyCancel {
    until: Timestamp,
    sequence: Sequence,
    /// Read position of the log at the last check: while the log advances, the message may still come.
    read_to: Sequence,
    reply: CancelReply,
}

/// Counts since the last [`Partition::take_tally`], for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) direct: u64,
    pub(crate) stored: u64,
    pub(crate) ended: u64,
    pub(crate) not_here: u64,
    pub(crate) busy: u64,
    /// Time from acceptance to acknowledgement, of each delivered message.
    pub(crate) delivered: Vec<Duration>,
}

/// Context of every verb: the time of the turn, and the link to the nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    pub(crate) nodes: &'a dyn NodeLink,
    /// End of the log now, where that costs no question.
    pub(crate) log_end: Option<Sequence>,
}

impl Partition {
    /// Builds the state of a partition whose log has been read to `read_to`. `inherited_to` is the end of the
    /// log at the take-over.
    pub(crate) fn new(limits: Limits, read_to: Sequence, inherited_to: Sequence) -> Self {
        let mut early_ends = EarlyEnds::new(inherited_to);
        early_ends.log_read_to(read_to);
        Self {
            limits,
            agents: HashMap::new(),
            sessions: 0,
            watched: VecDeque::new(),
            read_to,
            held: BTreeSet::new(),
            pushed_back: Vec::new(),
            early: HashMap::new(),
            early_ends,
            behind: Behind::default(),
            ending: HashMap::new(),
            ended_while_reading: HashMap::new(),
            work: Work::default(),
            tally: Tally::default(),
        }
    }

    /// Advances the low watermark of the log: messages before `read_to` have come out, or ended under an
    /// earlier owner. Sessions held back by the log read on.
    pub(crate) fn log_read_to(&mut self, read_to: Sequence) {
        self.read_to = self.read_to.max(read_to);
        self.early_ends.log_read_to(self.read_to);
        let bound = self.log_bound();
        while let Some(&(next, user_agent)) = self.held.first()
            && next < bound
        {
            self.held.pop_first();
            self.read_on(user_agent);
        }
        self.log_end_read();
    }

    /// First sequence that may be stored while older messages are still in the log. Beyond the inherited part
    /// there is none: this owner stores only messages already out of the log.
    fn log_bound(&self) -> Sequence {
        if self.early_ends.has_caught_up() { Sequence(u64::MAX) } else { self.read_to }
    }

    /// Takes the work added since the last call.
    pub(crate) fn take_work(&mut self) -> Work {
        self.note_ending();
        std::mem::take(&mut self.work)
    }

    /// Takes the counts since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Number of sessions, and of messages in flight. Visits only user agents with messages in flight, so
    /// idle ones cost nothing.
    pub(crate) fn population(&self) -> (usize, usize) {
        let busy = self.watched.iter().filter_map(|(_, user_agent)| self.agents.get(user_agent));
        let windows = busy.filter_map(|agent| agent.session.as_ref()).map(|session| session.window.len());
        (self.sessions, windows.sum())
    }

    /// Forgets a user agent without a session and without messages on the way.
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

impl Agent {
    /// Starts moving `message` from the log to the mailbox; a session gets a backlog.
    fn store(&mut self, message: Arc<Message>, work: &mut Work) {
        if let Some(session) = self.session.as_deref_mut() {
            session.backlog.stores(message.urgency);
        }
        self.store_sent(message, work);
    }

    /// Starts moving a message that the session has been sent.
    fn store_sent(&mut self, message: Arc<Message>, work: &mut Work) {
        self.storing.push(Storing {
            id: message.id,
            sequence: message.sequence,
            channel: message.to.channel,
            urgency: message.urgency,
            topic: message.topic.clone(),
            ended: None,
            cancel: None,
        });
        work.store.push(message);
    }
}

impl Session {
    fn has_room(&self, limits: &Limits) -> bool {
        self.window.len() < limits.window
    }

    fn find(&self, id: MessageId) -> Option<usize> {
        self.window.iter().position(|message| message.id == id)
    }

    /// Takes a message out of the window. An empty window gives all memory back: most sessions are idle.
    fn take(&mut self, index: usize) -> InFlight {
        let message = self.window.remove(index).expect("the index was found in this window");
        if self.window.is_empty() {
            self.window = VecDeque::new();
        }
        message
    }
}
