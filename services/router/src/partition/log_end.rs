//! Waiting for the log to be read to its end, so that the newest message of a topic counts from its 201 on (promise
//! P5): a newer one that was accepted before a session began, or before a cancellation, may still be in the log.
//!
//! Invariant: a session is not sent a message with a topic before the log has been read to the end that it had
//! after the session began, nor while a newer one of the topic is on the way into the mailbox. Until then the
//! message stays in the mailbox, where the newer one replaces it. Nobody asks for the end of the log before
//! there is such a message.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use pushgrid_store::Cancelled;
use pushgrid_types::{
    ChannelId, Message, MessageRef, ReplaceKey, Sequence, SessionRef, Timestamp, UserAgentId,
};
use tokio::sync::oneshot;

use super::{Agent, Backlog, Partition, Session, Turn};

/// Longest wait of a cancellation for the log to be read. What is known by then is the answer.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// End of the log that a session has to see read before it is sent a message with a topic: at or after the end that
/// the log had when the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicBound {
    Unknown,
    Asked,
    At(Sequence),
}

/// Somebody who waits to be told the end of the log.
#[derive(Debug)]
pub(crate) enum EndAsker {
    /// A session with a message of a topic to be sent.
    Session(UserAgentId, SessionRef),
    /// A cancellation, and the receiver of its answer.
    Cancel(MessageRef, oneshot::Sender<Cancelled>),
}

/// Those who wait until the log is read to an end.
#[derive(Debug, Default)]
pub(super) struct Behind {
    sessions: BTreeSet<(Sequence, UserAgentId)>,
    /// In the order of their ends, and of their times.
    cancels: VecDeque<BehindCancel>,
    /// Cancellations waiting for messages on the way into the mailbox.
    on_store: HashMap<UserAgentId, Vec<(MessageRef, oneshot::Sender<Cancelled>)>>,
    /// Number of those.
    cancels_on_store: usize,
    /// Topics whose newest message was stored while a page of the user agent was being read: the page may still
    /// have the older one.
    stored_while_reading: HashMap<UserAgentId, Vec<Newest>>,
}

/// Newest message of a topic.
#[derive(Debug)]
struct Newest {
    channel: ChannelId,
    topic: ReplaceKey,
    sequence: Sequence,
}

#[derive(Debug)]
struct BehindCancel {
    end: Sequence,
    until: Timestamp,
    message: MessageRef,
    reply: oneshot::Sender<Cancelled>,
}

impl Session {
    /// True once no message from before the session can still come out of a log that has been read to `read_to`.
    pub(super) fn knows_topics(&self, read_to: Sequence) -> bool {
        matches!(self.topic_bound, TopicBound::At(end) if end <= read_to)
    }
}

impl Agent {
    /// True while a newer message of its topic is on the way into the mailbox.
    pub(super) fn stores_newer(&self, message: &Message) -> bool {
        self.storing.iter().any(|storing| {
            storing.sequence > message.sequence
                && storing.channel == message.to.channel
                && storing.topic.is_some()
                && storing.topic == message.topic
        })
    }

    /// True if a message on the way into the mailbox will be replaced there by another one on the way.
    pub(super) fn replaces(&self, index: usize) -> bool {
        let older = &self.storing[index];
        let of_topic =
            self.storing.iter().filter(|newer| newer.topic.is_some() && newer.topic == older.topic);
        of_topic.into_iter().any(|newer| newer.channel == older.channel && newer.sequence > older.sequence)
    }
}

impl Partition {
    /// True while a stored message may be older than another one of its topic. Then [`Self::wait_for_newer`].
    pub(super) fn may_be_replaced(&self, user_agent: UserAgentId, message: &Message) -> bool {
        if message.topic.is_none() {
            return false;
        }
        let Some(agent) = self.agents.get(&user_agent) else { return false };
        let knows = agent.session.as_deref().is_none_or(|session| session.knows_topics(self.read_to));
        let mut stored = self.behind.stored_while_reading.get(&user_agent).into_iter().flatten();
        !knows
            || agent.stores_newer(message)
            || stored.any(|newest| {
                newest.sequence > message.sequence
                    && newest.channel == message.to.channel
                    && Some(&newest.topic) == message.topic.as_ref()
            })
    }

    /// Has the session read on when the newest message of the topic of `message` is in the mailbox, and asks for the
    /// end of the log if that is not known.
    pub(super) fn wait_for_newer(&mut self, user_agent: UserAgentId, message: &Message) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let stores_newer = agent.stores_newer(message);
        let Some(session) = agent.session.as_deref_mut() else { return };
        match session.topic_bound {
            TopicBound::Unknown => {
                session.topic_bound = TopicBound::Asked;
                self.work.ask_end.push(EndAsker::Session(user_agent, session.at));
            }
            TopicBound::At(end) if end > self.read_to => drop(self.behind.sessions.insert((end, user_agent))),
            // The log, or the answer of the mailbox, has the session read on.
            TopicBound::Asked => {}
            TopicBound::At(_) if stores_newer => {}
            TopicBound::At(_) => {
                self.behind.stored_while_reading.remove(&user_agent);
                self.read_on(user_agent);
            }
        }
    }

    /// Takes in that a message with a topic has been stored, perhaps while a page is being read.
    pub(super) fn newest_stored(&mut self, message: &Message) {
        let user_agent = message.to.user_agent;
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if let Some(topic) = &message.topic
            && session.is_some_and(|session| matches!(session.backlog, Backlog::Reading { .. }))
        {
            let newest =
                Newest { channel: message.to.channel, topic: topic.clone(), sequence: message.sequence };
            self.behind.stored_while_reading.entry(user_agent).or_default().push(newest);
        }
    }

    /// Forgets what was stored while a page was being read, once that page is dealt with.
    pub(super) fn forget_stored_while_reading(&mut self, user_agent: UserAgentId) {
        self.behind.stored_while_reading.remove(&user_agent);
    }

    /// Tells `askers` the end of the log, asked for after all of them had come.
    pub(crate) fn log_ends_at(&mut self, turn: Turn<'_>, end: Sequence, askers: Vec<EndAsker>) {
        for asker in askers {
            match asker {
                EndAsker::Session(user_agent, at) => {
                    let agent = self.agents.get_mut(&user_agent);
                    let session = agent.and_then(|agent| agent.session.as_deref_mut());
                    let Some(session) = session.filter(|session| session.at == at) else { continue };
                    session.topic_bound = TopicBound::At(end);
                    if end > self.read_to {
                        self.behind.sessions.insert((end, user_agent));
                    } else {
                        self.read_on(user_agent);
                    }
                }
                EndAsker::Cancel(message, reply) if end > self.read_to => {
                    let until = turn.now.plus(CANCEL_WAIT);
                    self.behind.cancels.push_back(BehindCancel { end, until, message, reply });
                }
                EndAsker::Cancel(message, reply) => self.cancel(message, reply),
            }
        }
    }

    /// Goes on with those whose end of the log has been read.
    pub(super) fn log_end_read(&mut self) {
        let read_to = self.read_to;
        while let Some(&(end, user_agent)) = self.behind.sessions.first()
            && end <= read_to
        {
            self.behind.sessions.pop_first();
            self.read_on(user_agent);
        }
        while let Some(cancel) = self.behind.cancels.pop_front_if(|cancel| cancel.end <= read_to) {
            self.cancel(cancel.message, cancel.reply);
        }
    }

    /// True while a newer message of the subscription, with a topic, is on the way into the mailbox: it may replace
    /// `message` there.
    pub(super) fn is_storing_newer_topic(&self, message: &MessageRef) -> bool {
        self.agents.get(&message.user_agent).is_some_and(|agent| {
            agent.storing.iter().any(|storing| {
                storing.channel == message.channel
                    && storing.topic.is_some()
                    && storing.sequence > message.sequence
            })
        })
    }

    /// Cancels a message once what is on the way into the mailbox of its user agent is there.
    pub(super) fn cancel_after_store(&mut self, message: MessageRef, reply: oneshot::Sender<Cancelled>) {
        if self.behind.cancels_on_store < self.limits.early_cancels {
            self.behind.cancels_on_store += 1;
            self.behind.on_store.entry(message.user_agent).or_default().push((message, reply));
        } // Dropped unanswered, it is unavailable: too many wait already.
    }

    /// Goes on with the cancellations that have waited for the mailbox of a user agent.
    pub(super) fn cancel_stored(&mut self, user_agent: UserAgentId) {
        let Some(waiting) = self.behind.on_store.remove(&user_agent) else { return };
        self.behind.cancels_on_store -= waiting.len();
        for (message, reply) in waiting {
            self.cancel(message, reply);
        }
    }

    /// Cancels what has waited for the log for long enough.
    pub(super) fn cancel_overdue(&mut self, now: Timestamp) {
        while let Some(cancel) = self.behind.cancels.pop_front_if(|cancel| cancel.until <= now) {
            self.cancel(cancel.message, cancel.reply);
        }
    }
}
