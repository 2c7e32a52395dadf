//! Routing of a message from the log: to the socket, to the mailbox, or to an end. Invariant: a message
//! overtakes older ones of its user agent only if it is more urgent, or with TTL 0 and without a topic.

use std::sync::Arc;

use pushgrid_runtime::spans;
use pushgrid_store::{Cancelled, End, NotDelivered};
use pushgrid_types::{ChannelId, Message, Outcome, ReplaceKey, Sequence, UserAgentId};

use super::{CancelReply, InFlight, Partition, Place, Turn};

/// Message from the log, with the state of its subscription.
#[derive(Debug, Clone)]
pub(crate) struct Routable {
    pub(crate) message: Arc<Message>,
    pub(crate) alive: bool,
}

impl Partition {
    /// Routes a message from the log: straight to the socket, into the mailbox, or to an end.
    pub(crate) fn route(&mut self, turn: Turn<'_>, routable: Routable) {
        let read_to = Sequence(routable.message.sequence.0 + 1);
        let span = spans::route(&routable.message);
        let way = span.in_scope(|| self.take_from_log(turn, routable));
        if !span.is_disabled() {
            span.in_scope(|| tracing::debug!(target: spans::MESSAGES, way, "routed"));
        }
        // Last: a session held back by the log must find this message in its place.
        self.log_read_to(read_to);
    }

    /// The way of the message, as named in metrics.
    fn take_from_log(&mut self, turn: Turn<'_>, Routable { message, alive }: Routable) -> &'static str {
        if let Some((outcome, cancel)) = self.ends_at_once(turn, &message, alive) {
            self.tally.ended += 1;
            self.end_from_log(message, outcome, cancel);
            return "ended";
        }
        let user_agent = message.to.user_agent;
        let replaces_stored = match &message.topic {
            Some(topic) => self.replace_in_flight(user_agent, message.to.channel, topic),
            None => false,
        };
        if replaces_stored || message.is_expired(turn.now) {
            return self.keep_or_end(message);
        }
        match self.deliver_directly(turn, &message) {
            Ok(()) => {
                self.tally.direct += 1;
                "direct"
            }
            Err(reason) => {
                if reason == Some(NotDelivered::NotHere) {
                    self.end_session(turn.now, user_agent, None);
                }
                self.keep_or_end(message)
            }
        }
    }

    /// The outcome of a message that ends as it comes out of the log, and the cancellation that ends it.
    fn ends_at_once(
        &mut self,
        turn: Turn<'_>,
        message: &Message,
        alive: bool,
    ) -> Option<(Outcome, Option<CancelReply>)> {
        let ended = self.early_ends.take(message.to.user_agent, message.id);
        let early = self.early.remove(&(message.to.user_agent, message.id)).map(|early| early.reply);
        match (ended, early) {
            (Some(outcome), early) => {
                if let Some(reply) = early {
                    self.work.answer(reply, Cancelled::Gone);
                }
                Some((outcome, None))
            }
            (None, Some(reply)) => Some((reply.outcome(), Some(reply))),
            (None, None) if !alive => Some((Outcome::Unsubscribed, None)),
            // A message with a topic replaces the older one first, even when expired itself.
            (None, None) if message.topic.is_none() && message.is_expired(turn.now) => {
                Some((Outcome::Expired, None))
            }
            (None, None) => None,
        }
    }

    /// Ends a message that came out of the log with its outcome. With a topic it is stored first, for a moment: it has
    /// taken the place of the older one when it was accepted, whatever came to it since.
    fn end_from_log(&mut self, message: Arc<Message>, outcome: Outcome, cancel: Option<CancelReply>) {
        if message.topic.is_none() || outcome == Outcome::Unsubscribed {
            self.work.settle_log.push(End::of(&message, outcome));
            if let Some(reply) = cancel {
                self.work.answer(reply, Cancelled::Ended);
            }
            return;
        }
        let agent = self.agents.entry(message.to.user_agent).or_default();
        agent.store(message, &mut self.work);
        if let Some(storing) = agent.storing.last_mut() {
            storing.ended = Some(outcome);
            if let Some(reply) = cancel {
                storing.answer_once_stored(reply);
            }
        }
    }

    /// Ends the messages in flight replaced by `topic` (RFC 8030 section 5.4). Stored messages are replaced by
    /// the mailbox, when the newer one is stored: in one change, so that the newer one cannot end before. True if one
    /// of those was in flight.
    fn replace_in_flight(&mut self, user_agent: UserAgentId, channel: ChannelId, topic: &ReplaceKey) -> bool {
        let mut is_stored = false;
        let Some(agent) = self.agents.get_mut(&user_agent) else { return is_stored };
        let Some(session) = agent.session.as_deref_mut() else { return is_stored };
        let same = |flying: &InFlight| match &flying.place {
            Place::Log(message) => message.topic.as_ref() == Some(topic),
            Place::Mailbox(of) => of.as_ref() == Some(topic),
            // The newer message follows into the mailbox (see `deliver_directly`), and replaces this one there.
            Place::Moving => false,
        };
        while let Some(index) =
            session.window.iter().position(|flying| flying.channel == channel && same(flying))
        {
            let old = session.take(index);
            match old.place {
                Place::Log(message) => self.work.settle_log.push(End::of(&message, Outcome::Replaced)),
                Place::Moving | Place::Mailbox(_) => is_stored = true,
            }
        }
        is_stored
    }

    /// Delivers the message to a session already sent all older ones. `Err(None)`: no such session, or no
    /// room.
    fn deliver_directly(
        &mut self,
        turn: Turn<'_>,
        message: &Arc<Message>,
    ) -> Result<(), Option<NotDelivered>> {
        let user_agent = message.to.user_agent;
        let agent = self.agents.get_mut(&user_agent).ok_or(None)?;
        let moving = !agent.storing.is_empty();
        let session = agent.session.as_deref_mut().ok_or(None)?;
        // A message with TTL 0 cannot wait, so it may overtake older ones, though with a topic not the one that it
        // replaces.
        let may_overtake = message.ttl.is_zero() && message.topic.is_none();
        let is_newest = message.topic.is_none() || session.knows_topics(Sequence(message.sequence.0 + 1));
        // A message with a topic may have an older one in the mailbox, of any urgency, which only the mailbox replaces.
        let is_alone = message.topic.is_none() || (session.backlog.is_empty() && !moving);
        let is_next = session.backlog.is_next(message.urgency);
        let goes =
            (is_next && is_newest && is_alone) || (may_overtake && session.backlog.takes(message.urgency));
        if !goes || !session.has_room(&self.limits) {
            return Err(None);
        }
        turn.nodes.deliver(session.at, message).map_err(|reason| {
            match reason {
                NotDelivered::NotHere => self.tally.not_here += 1,
                NotDelivered::Busy => self.tally.busy += 1,
            }
            Some(reason)
        })?;
        session.window.push_back(InFlight::new(message, turn.now, Place::Log(message.clone())));
        if is_next {
            session.backlog.pass(message);
        }
        self.watch(turn.now, user_agent);
        Ok(())
    }

    /// Stores the message, or ends it at TTL 0. With a topic even TTL 0 is stored for a moment, to replace
    /// the older message (RFC 8030 section 5.4); no later session is sent it.
    fn keep_or_end(&mut self, message: Arc<Message>) -> &'static str {
        if message.ttl.is_zero() && message.topic.is_none() {
            self.tally.ended += 1;
            self.work.settle_log.push(End::of(&message, Outcome::Expired));
            "ended"
        } else {
            self.tally.stored += 1;
            let agent = self.agents.entry(message.to.user_agent).or_default();
            agent.store(message, &mut self.work);
            "stored"
        }
    }
}
