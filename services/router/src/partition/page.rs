use std::sync::Arc;

use pushgrid_store::{NotDelivered, Stored};
use pushgrid_types::{Message, Outcome, Sequence, SessionRef, UserAgentId};

use super::{Backlog, InFlight, PageRequest, Partition, Place, Turn};

impl Partition {
    /// Messages have arrived in the mailbox, or have ended on the way.
    pub(crate) fn stored(&mut self, batch: &[Arc<Message>], answers: &[Stored]) {
        for (message, answer) in batch.iter().zip(answers) {
            let user_agent = message.to.user_agent;
            let Some(agent) = self.agents.get_mut(&user_agent) else { continue };
            let Some(index) = agent.storing.iter().position(|storing| storing.sequence == message.sequence)
            else {
                continue;
            };
            let storing = agent.storing.swap_remove(index);
            if let (Stored::Kept, Some(outcome)) = (answer, storing.ended) {
                self.work.end_stored(user_agent, storing.id, outcome);
            }
            if let Some(session) = agent.session.as_deref_mut()
                && let Some(index) = session.find(message.id)
            {
                match answer {
                    Stored::Kept => session.window[index].place = Place::Mailbox(message.topic.clone()),
                    Stored::Ended(_) => drop(session.take(index)),
                }
            }
            if agent.storing.is_empty() {
                agent.storing = Vec::new();
            }
            self.read_on(user_agent);
            self.forget_if_idle(user_agent);
        }
    }

    /// Asks for the next page of what waits, if the session wants one and has room.
    pub(super) fn read_on(&mut self, user_agent: UserAgentId) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut() else { return };
        if session.backlog != Backlog::Some || !session.has_room(&self.limits) {
            return;
        }
        // Nothing may be sent that comes after a message which is still on its way into the mailbox, or that message
        // would be passed over. One that this session was already sent cannot be.
        let unsent = agent.storing.iter().filter(|storing| session.find(storing.id).is_none());
        let bound = unsent.map(|storing| storing.sequence).min().unwrap_or(Sequence(u64::MAX));
        session.backlog = Backlog::Reading { bound, again: false };
        let mut limit = self.limits.page;
        limit.messages = limit.messages.min(self.limits.window - session.window.len());
        self.work.pages.push(PageRequest { user_agent, session: session.at, after: session.cursor, limit });
    }

    /// A page has been read. `None`: it could not be, and is to be read again.
    pub(crate) fn page(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        at: SessionRef,
        page: Option<Vec<Message>>,
    ) {
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_some_and(|session| session.at == at) {
            self.take_page(turn, user_agent, at, page);
            self.forget_ended_while_reading(user_agent);
        }
    }

    fn take_page(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        at: SessionRef,
        page: Option<Vec<Message>>,
    ) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut().filter(|session| session.at == at) else { return };
        let Backlog::Reading { bound, again } = session.backlog else { return };
        let Some(page) = page else {
            session.backlog = Backlog::Some;
            return self.read_on(user_agent);
        };
        let whole = bound == Sequence(u64::MAX);
        session.backlog = if page.is_empty() && !again && whole { Backlog::None } else { Backlog::Some };
        let mut progress = again;
        for message in page.into_iter().take_while(|message| message.sequence < bound) {
            progress = true;
            match self.send_stored(turn, user_agent, message) {
                Ok(()) => {}
                Err(NotDelivered::NotHere) => return self.end_session(turn.now, user_agent, None),
                // The next settlement goes on from here, or the sweep.
                Err(NotDelivered::Busy) => return self.watch(turn.now, user_agent),
            }
        }
        self.watch(turn.now, user_agent);
        let agent = self.agents.get(&user_agent);
        let held_up =
            agent.is_some_and(|agent| agent.storing.iter().any(|storing| storing.sequence == bound));
        // While the message at the bound is on its way there is nothing to read; `stored` goes on when it arrives.
        if progress || !held_up {
            self.read_on(user_agent);
        }
    }

    /// Sends one stored message, or ends it when its time is over.
    fn send_stored(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        message: Message,
    ) -> Result<(), NotDelivered> {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return Ok(()) };
        let Some(session) = agent.session.as_deref_mut() else { return Ok(()) };
        if self.ending.contains_key(&message.id) {
            session.cursor = session.cursor.max(message.sequence);
            return Ok(());
        }
        let missed = message.ttl.is_zero() && message.accepted_at < session.opened_at;
        if missed || message.is_expired(turn.now) {
            session.cursor = session.cursor.max(message.sequence);
            self.work.end_stored(user_agent, message.id, Outcome::Expired);
            return Ok(());
        }
        if session.find(message.id).is_none() {
            let message = Arc::new(message);
            turn.nodes.deliver(session.at, &message).inspect_err(|reason| match reason {
                NotDelivered::NotHere => self.tally.not_here += 1,
                NotDelivered::Busy => self.tally.busy += 1,
            })?;
            session.cursor = session.cursor.max(message.sequence);
            let place = Place::Mailbox(message.topic.clone());
            session.window.push_back(InFlight::new(&message, turn.now, place));
        } else {
            session.cursor = session.cursor.max(message.sequence);
        }
        Ok(())
    }
}
