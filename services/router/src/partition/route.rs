use std::sync::Arc;

use pushgrid_store::{Cancelled, NotDelivered};
use pushgrid_types::{ChannelId, Message, Outcome, Topic, UserAgentId};

use super::{Backlog, InFlight, Partition, Place, Turn};

/// A message from the log, and whether its subscription is alive.
#[derive(Debug, Clone)]
pub(crate) struct Routable {
    pub(crate) message: Arc<Message>,
    pub(crate) alive: bool,
}

impl Partition {
    /// Decides the way of a message that has come out of the log: straight to the socket, into the mailbox, or to
    /// its end.
    pub(crate) fn route(&mut self, turn: Turn<'_>, Routable { message, alive }: Routable) {
        self.routed = self.routed.max(message.sequence);
        if let Some(outcome) = self.ends_at_once(turn, &message, alive) {
            self.tally.ended += 1;
            self.work.settle_log.push((message.sequence, outcome));
            return;
        }
        let user_agent = message.to.user_agent;
        if let Some(topic) = &message.topic {
            self.replace_in_flight(user_agent, message.to.channel, topic);
        }
        if message.is_expired(turn.now) {
            return self.keep_or_end(message);
        }
        match self.deliver_directly(turn, &message) {
            Ok(()) => self.tally.direct += 1,
            Err(reason) => {
                if reason == Some(NotDelivered::NotHere) {
                    self.end_session(turn.now, user_agent, None);
                }
                self.keep_or_end(message);
            }
        }
    }

    fn ends_at_once(&mut self, turn: Turn<'_>, message: &Message, alive: bool) -> Option<Outcome> {
        if let Some(early) = self.early.remove(&message.id) {
            // Whoever asked may be gone: the message is cancelled all the same.
            let _ = early.reply.send(Cancelled::Ended);
            return Some(Outcome::Cancelled);
        }
        if let Some(outcome) = self.early_ends.remove(&message.id) {
            return Some(outcome);
        }
        if !alive {
            return Some(Outcome::Unsubscribed);
        }
        // One with a topic takes the place of the older one first, even if it came out of the log too late for itself.
        (message.topic.is_none() && message.is_expired(turn.now)).then_some(Outcome::Expired)
    }

    /// The older message of the topic is no longer pending, whether or not its acknowledgement still comes. Those
    /// that are in the mailbox and in no window are replaced there, when the newer one is stored.
    fn replace_in_flight(&mut self, user_agent: UserAgentId, channel: ChannelId, topic: &Topic) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut() else { return };
        let same = |flying: &InFlight| match &flying.place {
            Place::Log(message) => message.topic.as_ref() == Some(topic),
            Place::Mailbox(of) => of.as_ref() == Some(topic),
            // The newer one follows it into the mailbox (see `deliver_directly`), and replaces it there.
            Place::Moving => false,
        };
        while let Some(index) =
            session.window.iter().position(|flying| flying.channel == channel && same(flying))
        {
            let old = session.take(index);
            match old.place {
                Place::Log(_) => self.work.settle_log.push((old.sequence, Outcome::Replaced)),
                Place::Moving | Place::Mailbox(_) => {
                    self.work.end_stored(user_agent, old.id, Outcome::Replaced);
                }
            }
        }
    }

    /// Hands the message to the socket, if there is one that has seen all that came before.
    fn deliver_directly(
        &mut self,
        turn: Turn<'_>,
        message: &Arc<Message>,
    ) -> Result<(), Option<NotDelivered>> {
        let user_agent = message.to.user_agent;
        let agent = self.agents.get_mut(&user_agent).ok_or(None)?;
        let moving = !agent.storing.is_empty();
        let session = agent.session.as_deref_mut().ok_or(None)?;
        // With TTL 0 it is now or never, so such a message may overtake those that wait. One with a topic may not
        // overtake what it replaces.
        let may_overtake = message.ttl.is_zero() && message.topic.is_none();
        let in_order = session.backlog == Backlog::None && !(moving && message.topic.is_some());
        if !(in_order || may_overtake) || !session.has_room(&self.limits) {
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
        if session.backlog == Backlog::None {
            session.cursor = session.cursor.max(message.sequence);
        }
        self.watch(turn.now, user_agent);
        Ok(())
    }

    /// With TTL 0 the message has missed its user agent. If it has a topic it is stored for a moment all the same:
    /// it takes the place of the older one there (RFC 8030 section 5.4), and no later session gets it.
    fn keep_or_end(&mut self, message: Arc<Message>) {
        if message.ttl.is_zero() && message.topic.is_none() {
            self.tally.ended += 1;
            self.work.settle_log.push((message.sequence, Outcome::Expired));
        } else {
            self.tally.stored += 1;
            let agent = self.agents.entry(message.to.user_agent).or_default();
            agent.store(message, &mut self.work);
        }
    }
}
