//! Least urgency that a user agent takes on a session (RFC 8030 section 5.3). Invariant: what is below it is neither
//! sent nor in the window, but waits in the mailbox, whatever was on its way when the user agent asked.

use pushgrid_types::{SessionRef, Urgency, UserAgentId};

use super::{InFlight, Partition, Place};

impl Partition {
    /// Sets the least urgency of messages for a session. Messages in flight below it go back to the mailbox: the node
    /// has dropped those that it had not sent. When it falls, what it releases is sent, the most urgent first.
    pub(crate) fn set_min_urgency(
        &mut self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(held) = agent.session.as_deref_mut().filter(|held| held.at == session) else { return };
        held.backlog.set_min_urgency(min_urgency);
        // With TTL 0 a message is for now or never: it ends by its acknowledgement, or by the next sweep.
        let is_below = |flying: &InFlight| {
            let now_or_never = matches!(&flying.place, Place::Log(message) if message.ttl.is_zero());
            flying.urgency < min_urgency && !now_or_never
        };
        let mut unstored = Vec::new();
        while let Some(index) = held.window.iter().position(is_below) {
            let flying = held.take(index);
            held.backlog.put_back(flying.urgency, flying.sequence);
            if let Place::Log(message) = flying.place {
                unstored.push(message);
            }
        }
        for message in unstored {
            self.tally.stored += 1;
            agent.store(message, &mut self.work);
        }
        self.read_on(user_agent);
    }
}
