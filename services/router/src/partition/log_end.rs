//! Waiting for the log to be read to its end, so that the newest message of a topic counts from its 201 on (promise
//! P5): a newer one that was accepted before a session began, or before a cancellation, may still be in the log.
//!
//! Invariant: a session is not sent a message with a topic before the log has been read to the end that it had
//! after the session began, nor ever when a newer one of the topic is on the way into the mailbox, which replaces it
//! there. Nobody asks for the end of the log before there is such a message.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use pushgrid_types::{
    ChannelId, Message, MessageId, MessageRef, ReplaceKey, Sequence, Timestamp, UserAgentId,
};

use super::{Agent, CancelReply, EndAsker, Partition, Session, Turn};

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

/// Those who wait until the log is read to an end.
#[derive(Debug, Default)]
pub(super) struct Behind {
    sessions: BTreeSet<(Sequence, UserAgentId)>,
    /// In the order of their ends, and of their times.
    cancels: VecDeque<BehindCancel>,
    /// Cancellations waiting for messages on the way into the mailbox.
    on_store: HashMap<UserAgentId, Vec<StoreCancel>>,
    /// Number of those.
    cancels_on_store: usize,
    /// Topics whose newest message was stored while a page of the user agent was being read: the page may still
    /// have the older one.
    stored_while_reading: HashMap<UserAgentId, Vec<Newest>>,
}

#[derive(Debug)]
struct StoreCancel {
    stored_to: Sequence,
    message: MessageRef,
    reply: CancelReply,
}

/// Newest message of a topic.
#[derive(Debug)]
struct Newest {
    id: MessageId,
    channel: ChannelId,
    topic: ReplaceKey,
    sequence: Sequence,
}

#[derive(Debug)]
struct BehindCancel {
    end: Sequence,
    until: Timestamp,
    message: MessageRef,
    reply: CancelReply,
}

impl Session {
    /// True once no message from before the session can still come out of a log that has been read to `read_to`.
    pub(super) fn knows_topics(&self, read_to: Sequence) -> bool {
        matches!(self.topic_bound, TopicBound::At(end) if end <= read_to)
    }
}

impl Agent {
    /// True while a newer message of its topic is on the way into the mailbox. One with the same id is none: a message
    /// whose append was repeated ends there as a repeat, and the first one stays.
    pub(super) fn stores_newer(&self, message: &Message) -> bool {
        self.storing.iter().any(|storing| {
            storing.sequence > message.sequence
                && storing.id != message.id
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
        of_topic.into_iter().any(|newer| {
            newer.channel == older.channel && newer.id != older.id && newer.sequence > older.sequence
        })
    }
}

impl Partition {
    /// True for a stored message of whose topic a newer one from before the session may still be in the log. Then
    /// [`Self::wait_for_log_end`].
    pub(super) fn awaits_log_end(&self, user_agent: UserAgentId, message: &Message) -> bool {
        if message.topic.is_none() {
            return false;
        }
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        session.is_some_and(|session| !session.knows_topics(self.read_to))
    }

    /// Has the session read on when the log is read to its end, which is asked for if it is not known.
    pub(super) fn wait_for_log_end(&mut self, user_agent: UserAgentId) {
        let session = self.agents.get_mut(&user_agent).and_then(|agent| agent.session.as_deref_mut());
        let Some(session) = session else { return };
        match session.topic_bound {
            TopicBound::Unknown => {
                session.topic_bound = TopicBound::Asked;
                self.work.ask_end.push(EndAsker::Session(user_agent, session.at));
            }
            TopicBound::At(end) => drop(self.behind.sessions.insert((end, user_agent))),
            TopicBound::Asked => {}
        }
    }

    /// True for a message of a page that a newer one of its topic replaces, or has replaced since the page was read.
    /// It is passed over: in the mailbox, the end of the one and the coming of the other are one change.
    pub(super) fn is_replaced(&self, user_agent: UserAgentId, message: &Message) -> bool {
        if message.topic.is_none() {
            return false;
        }
        let mut stored = self.behind.stored_while_reading.get(&user_agent).into_iter().flatten();
        self.agents.get(&user_agent).is_some_and(|agent| agent.stores_newer(message))
            || stored.any(|newest| {
                newest.sequence > message.sequence
                    && newest.id != message.id
                    && newest.channel == message.to.channel
                    && Some(&newest.topic) == message.topic.as_ref()
            })
    }

    /// Takes in that a message with a topic has been stored, perhaps while a page is being read.
    pub(super) fn newest_stored(&mut self, message: &Message) {
        let user_agent = message.to.user_agent;
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if let Some(topic) = &message.topic
            && session.is_some_and(|session| session.backlog.is_reading())
        {
            let newest = Newest {
                id: message.id,
                channel: message.to.channel,
                topic: topic.clone(),
                sequence: message.sequence,
            };
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

    /// Sequence of the newest message of the subscription that has a topic, is on the way into the mailbox, and may
    /// replace `message` there.
    pub(super) fn storing_newer_topics(&self, message: &MessageRef) -> Option<Sequence> {
        let storing = self.agents.get(&message.user_agent).into_iter().flat_map(|agent| &agent.storing);
        let of_topics = storing.filter(|it| it.channel == message.channel && it.topic.is_some());
        of_topics.map(|it| it.sequence).filter(|sequence| *sequence > message.sequence).max()
    }

    /// Cancels a message once what is on the way into the mailbox, up to `stored_to`, is there.
    pub(super) fn cancel_after_store(
        &mut self,
        message: MessageRef,
        reply: CancelReply,
        stored_to: Sequence,
    ) {
        if self.behind.cancels_on_store < self.limits.early_cancels {
            self.behind.cancels_on_store += 1;
            let waiting = self.behind.on_store.entry(message.user_agent).or_default();
            waiting.push(StoreCancel { stored_to, message, reply });
        } // Dropped unanswered, it is unavailable: too many wait already.
    }

    /// Goes on with the cancellations that have waited for the mailbox of a user agent. What has come since they did
    /// is not waited for.
    pub(super) fn cancel_stored(&mut self, user_agent: UserAgentId) {
        let Some(waiting) = self.behind.on_store.remove(&user_agent) else { return };
        self.behind.cancels_on_store -= waiting.len();
        for StoreCancel { stored_to, message, reply } in waiting {
            let storing = self.agents.get(&user_agent).into_iter().flat_map(|agent| &agent.storing);
            let mut storing = storing.filter(|it| it.channel == message.channel && it.topic.is_some());
            let waits = storing.any(|it| it.sequence > message.sequence && it.sequence <= stored_to);
            self.cancel_once_stored(message, reply, waits.then_some(stored_to));
        }
    }

    /// Cancels what has waited for the log for long enough.
    pub(super) fn cancel_overdue(&mut self, now: Timestamp) {
        while let Some(cancel) = self.behind.cancels.pop_front_if(|cancel| cancel.until <= now) {
            self.cancel(cancel.message, cancel.reply);
        }
    }
}
