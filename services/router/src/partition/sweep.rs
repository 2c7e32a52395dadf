use pushgrid_store::Cancelled;
use pushgrid_types::{Outcome, Timestamp, UserAgentId};

use super::cancel::answer;
use super::{Partition, Place, Turn};

impl Partition {
    /// Looks after what has been in flight for too long, and answers cancellations that found nothing.
    pub(crate) fn sweep(&mut self, turn: Turn<'_>) {
        self.answer_early_cancels(turn.now);
        while let Some(&(due, user_agent)) = self.watched.front()
            && due <= turn.now
        {
            self.watched.pop_front();
            self.store_overdue(turn.now, user_agent);
            self.read_on(user_agent);
        }
    }

    /// Makes sure that a user agent with something in flight is looked after in time.
    pub(super) fn watch(&mut self, now: Timestamp, user_agent: UserAgentId) {
        if let Some(agent) = self.agents.get_mut(&user_agent)
            && !agent.watched
        {
            agent.watched = true;
            self.watched.push_back((now.plus(self.limits.ack_timeout), user_agent));
        }
    }

    /// The log is kept short: what is not acknowledged in time moves to the mailbox, and stays in flight. What has
    /// expired makes room for others. Between one and two time-outs pass until this happens.
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
                    self.work.settle_log.push((message.sequence, Outcome::Expired));
                    return false;
                }
                Place::Log(message) => overdue.push(message),
                elsewhere => flying.place = elsewhere,
            }
            // In the mailbox it ends by itself; here it only makes room.
            !over
        });
        let backlog = session.backlog;
        let watch_on = !session.window.is_empty();
        for message in overdue {
            self.tally.stored += 1;
            agent.store(message, &mut self.work);
        }
        // This session has been sent them, so they are no backlog of its own.
        if let Some(session) = agent.session.as_deref_mut() {
            session.backlog = backlog;
        }
        if watch_on {
            self.watch(now, user_agent);
        }
    }

    /// While messages come out of the log, the one that is waited for may come too; when it has been passed by, or nothing
    /// comes any more, it ended before.
    fn answer_early_cancels(&mut self, now: Timestamp) {
        let (routed, grace) = (self.routed, self.limits.cancel_grace);
        let over = self.early.extract_if(|_, early| {
            if early.sequence > routed && early.routed < routed {
                (early.routed, early.until) = (routed, now.plus(grace));
            }
            early.sequence <= routed || early.until <= now
        });
        over.for_each(|(_, early)| answer(early.reply, Cancelled::Gone));
    }
}
