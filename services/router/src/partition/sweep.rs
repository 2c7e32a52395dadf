//! Periodic check of messages in flight and of waiting cancellations. Bound: a message without an
//! acknowledgement leaves the log within two `ack_timeout`s. Expiry in the mailbox is not here
//! (`worker/carry_out`).

use pushgrid_store::{Cancelled, End};
use pushgrid_types::{Outcome, Timestamp, UserAgentId};

use super::{Partition, Place, Turn};

impl Partition {
    /// Stores messages in flight beyond `ack_timeout`, ends expired ones, and answers cancellations already
    /// passed by the log.
    pub(crate) fn sweep(&mut self, turn: Turn<'_>) {
        self.answer_early_cancels(turn.now);
        self.cancel_overdue(turn.now);
        for user_agent in std::mem::take(&mut self.pushed_back) {
            self.read_on(user_agent);
        }
        while let Some(&(due, user_agent)) = self.watched.front()
            && due <= turn.now
        {
            self.watched.pop_front();
            self.store_overdue(turn.now, user_agent);
            self.read_on(user_agent);
        }
    }

    /// Schedules the check of a user agent with messages in flight.
    pub(super) fn watch(&mut self, now: Timestamp, user_agent: UserAgentId) {
        if let Some(agent) = self.agents.get_mut(&user_agent)
            && !agent.watched
        {
            agent.watched = true;
            self.watched.push_back((now.plus(self.limits.ack_timeout), user_agent));
        }
    }

    /// Stores messages whose acknowledgement is overdue, which keeps the log short; they stay in flight.
    /// Expired ones free their slots. Happens between one and two `ack_timeout`s after the send.
    fn store_overdue(&mut self, now: Timestamp, user_agent: UserAgentId) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        agent.watched = false;
        let Some(session) = agent.session.as_deref_mut() else { return };
        let mut overdue = Vec::new();
        session.window.retain_mut(|flying| {
            let over = now >= flying.expires_at;
            if !over && now.since(flying.sent_at) < self.limits.ack_timeout {
                return true;
            }
            match std::mem::replace(&mut flying.place, Place::Moving) {
                Place::Log(message) if over || message.ttl.is_zero() => {
                    self.work.settle_log.push(End::of(&message, Outcome::Expired));
                    return false;
                }
                Place::Log(message) => overdue.push(message),
                // The mailbox's own sweep is too late: a late acknowledgement finds nothing in flight, and asks the
                // mailbox only while there is a backlog.
                Place::Mailbox(_) if over => self.work.end_stored(user_agent, flying.id, Outcome::Expired),
                elsewhere => flying.place = elsewhere,
            }
            !over
        });
        let watch_on = !session.window.is_empty();
        for message in overdue {
            self.tally.stored += 1;
            agent.store_sent(message, &mut self.work);
        }
        if watch_on {
            self.watch(now, user_agent);
        }
    }

    /// Answers cancellations of messages already passed by the log: each has ended before. While the log
    /// advances, the others wait on. Once the log has stood still for the grace, the others are dropped,
    /// which means unknown.
    fn answer_early_cancels(&mut self, now: Timestamp) {
        let (read_to, grace) = (self.read_to, self.limits.cancel_grace);
        let over = self.early.extract_if(|_, early| {
            if early.read_to < read_to {
                (early.read_to, early.until) = (read_to, now.plus(grace));
            }
            early.sequence < read_to || early.until <= now
        });
        for (_, early) in over {
            if early.sequence < read_to {
                self.work.answer(early.reply, Cancelled::Gone);
            }
        }
    }
}
