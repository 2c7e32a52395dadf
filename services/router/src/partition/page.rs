//! Backlog of a session: reads the mailbox page by page into the window. Invariant: stored messages of one urgency are
//! sent in the order of the sequences, and none is skipped while an older one is still on the way out of the log or
//! into the mailbox.

use std::sync::Arc;

use pushgrid_runtime::spans;
use pushgrid_store::{Cancelled, NotDelivered, Page, Stored};
use pushgrid_types::{Message, MessageRef, Outcome, Sequence, SessionRef, Urgency, UserAgentId};

use super::backlog::Reading;
use super::{Cancelling, InFlight, PageRequest, Partition, Place, SettleStored, Storing, Turn};

impl Partition {
    /// Takes in the answers of the mailbox to a stored batch. A message ended on the way is removed again.
    pub(crate) fn stored(&mut self, batch: &[Arc<Message>], answers: &[Stored]) {
        for (message, answer) in batch.iter().zip(answers) {
            let user_agent = message.to.user_agent;
            let Some(agent) = self.agents.get_mut(&user_agent) else { continue };
            let Some(index) = agent.storing.iter().position(|storing| storing.sequence == message.sequence)
            else {
                continue;
            };
            let storing = agent.storing.swap_remove(index);
            match (answer, storing.ended, storing.cancel) {
                (Stored::Kept, Some(outcome), Some(reply)) => {
                    let Storing { id, channel, sequence, .. } = storing;
                    let message = MessageRef { user_agent, channel, id, sequence };
                    let cancelling = Cancelling { message, routed: true, was_stored: true, reply };
                    let (ended, cancel) = (vec![(id, outcome)], Some(cancelling));
                    self.work.settle_mailbox.push(SettleStored { user_agent, ended, cancel });
                }
                (Stored::Kept, Some(outcome), None) => self.work.end_stored(user_agent, storing.id, outcome),
                // Another end came first.
                (Stored::Ended(_), _, Some(reply)) => self.work.answer(reply, Cancelled::Gone),
                (Stored::Kept, None, _) | (Stored::Ended(_), _, None) => {}
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
            self.newest_stored(message);
            self.cancel_stored(user_agent);
            self.read_on(user_agent);
            self.forget_if_idle(user_agent);
        }
    }

    /// Requests the next page, if the session has a backlog and its window has room.
    pub(super) fn read_on(&mut self, user_agent: UserAgentId) {
        let (log_bound, read_to) = (self.log_bound(), self.read_to);
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut() else { return };
        if !session.backlog.is_to_be_read() || !session.has_room(&self.limits) {
            return;
        }
        // No place must pass a message still on its way into the mailbox. One already sent on this session is exempt.
        let window = &session.window;
        let is_unsent = |storing: &&Storing| !window.iter().any(|flying| flying.id == storing.id);
        let unsent = agent.storing.iter().filter(is_unsent);
        let unsent = unsent.map(|storing| (storing.urgency, storing.sequence));
        let start = session.backlog.read(unsent, log_bound, read_to);
        let mut limit = self.limits.page;
        limit.messages = limit.messages.min(self.limits.window - session.window.len());
        self.work.pages.push(PageRequest { user_agent, session: session.at, start, limit });
    }

    /// Takes in a page. `None`: the read failed, and is repeated.
    pub(crate) fn page(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        at: SessionRef,
        page: Option<Page>,
    ) {
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if session.is_some_and(|session| session.at == at) {
            self.take_page(turn, user_agent, at, page);
            self.page_is_over(user_agent);
        }
    }

    /// Takes in that the user agent's part of the mailbox is unreadable. The next sweep, or the next message
    /// for the user agent, retries.
    pub(crate) fn no_page(&mut self, turn: Turn<'_>, user_agent: UserAgentId, at: SessionRef) {
        let session = self.agents.get_mut(&user_agent).and_then(|agent| agent.session.as_deref_mut());
        let Some(session) = session.filter(|session| session.at == at) else { return };
        if session.backlog.end_read().is_some() {
            self.watch(turn.now, user_agent);
        }
        self.page_is_over(user_agent);
    }

    fn take_page(&mut self, turn: Turn<'_>, user_agent: UserAgentId, at: SessionRef, page: Option<Page>) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut().filter(|session| session.at == at) else { return };
        let Some(reading) = session.backlog.end_read() else { return };
        let Some(page) = page else { return self.read_on(user_agent) };
        let Page { messages, is_last } = page;
        session.backlog.found(&reading, messages.first().map(|message| message.urgency));
        let (mut progress, mut next) = (reading.is_again(), None::<Sequence>);
        for message in messages {
            if reading.is_stale(message.urgency) || !self.takes(user_agent, message.urgency) {
                progress = true;
                continue;
            }
            if message.sequence >= reading.bound(message.urgency) {
                next = Some(next.map_or(message.sequence, |next| next.min(message.sequence)));
                continue;
            }
            if self.awaits_log_end(user_agent, &message) {
                self.watch(turn.now, user_agent);
                return self.wait_for_log_end(user_agent);
            }
            progress = true;
            match self.send_stored(turn, user_agent, message) {
                Ok(()) => {}
                Err(NotDelivered::NotHere) => return self.end_session(turn.now, user_agent, None),
                // The next sweep reads on from the cursor: without anything in flight no acknowledgement would.
                Err(NotDelivered::Busy) => {
                    self.pushed_back.push(user_agent);
                    return self.watch(turn.now, user_agent);
                }
            }
        }
        self.watch(turn.now, user_agent);
        if is_last && next.is_none() {
            self.found_all(user_agent, &reading);
        }
        if progress || !self.is_held_up(user_agent, &reading, next) {
            self.read_on(user_agent);
        }
    }

    /// Takes in that all of a last page has been sent: nothing else was stored that could have been read.
    fn found_all(&mut self, user_agent: UserAgentId, reading: &Reading) {
        let agent = self.agents.get_mut(&user_agent);
        if let Some(session) = agent.and_then(|agent| agent.session.as_deref_mut()) {
            session.backlog.found(reading, None);
        }
    }

    /// True if the session takes messages of this urgency.
    fn takes(&self, user_agent: UserAgentId, urgency: Urgency) -> bool {
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        session.is_some_and(|session| session.backlog.takes(urgency))
    }

    /// True while a read would yield nothing: until a message that bounded the read is stored, or the log is read
    /// beyond the `next` stored message. Either event resumes reading.
    fn is_held_up(&mut self, user_agent: UserAgentId, reading: &Reading, next: Option<Sequence>) -> bool {
        let storing = self.agents.get(&user_agent).into_iter().flat_map(|agent| &agent.storing);
        let mut bounding = storing.filter(|storing| storing.sequence == reading.bound(storing.urgency));
        if bounding.next().is_some() {
            return true;
        }
        let held_by_log = next.filter(|next| *next >= self.log_bound());
        self.held.extend(held_by_log.map(|next| (next, user_agent)));
        held_by_log.is_some()
    }

    /// Sends one stored message, or ends it once expired.
    fn send_stored(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        message: Message,
    ) -> Result<(), NotDelivered> {
        let is_replaced = self.is_replaced(user_agent, &message);
        let Some(agent) = self.agents.get_mut(&user_agent) else { return Ok(()) };
        let Some(session) = agent.session.as_deref_mut() else { return Ok(()) };
        // The end is under way: counting the message as sent keeps it from being sent again.
        if is_replaced || self.ending.contains_key(&(user_agent, message.id)) {
            session.backlog.pass(&message);
            return Ok(());
        }
        // TTL 0 is for a user agent that was connected at acceptance (RFC 8030 section 5.2).
        let missed = message.ttl.is_zero() && message.accepted_at < session.opened_at;
        if missed || message.is_expired(turn.now) {
            session.backlog.pass(&message);
            self.work.end_stored(user_agent, message.id, Outcome::Expired);
            return Ok(());
        }
        if session.find(message.id).is_none() {
            let message = Arc::new(message);
            let span = spans::route(&message);
            let delivered = span.in_scope(|| turn.nodes.deliver(session.at, &message));
            if !span.is_disabled() {
                span.in_scope(|| tracing::debug!(target: spans::MESSAGES, way = "mailbox", "routed"));
            }
            delivered.inspect_err(|reason| match reason {
                NotDelivered::NotHere => self.tally.not_here += 1,
                NotDelivered::Busy => self.tally.busy += 1,
            })?;
            session.backlog.pass(&message);
            let place = Place::Mailbox(message.topic.clone());
            session.window.push_back(InFlight::new(&message, turn.now, place));
        } else {
            session.backlog.pass(&message);
        }
        Ok(())
    }
}
