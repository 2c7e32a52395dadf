use pushgrid_store::End;
use pushgrid_types::{ChannelId, Outcome, UserAgentId};

use super::{Partition, Place};

impl Partition {
    /// Ends messages in flight of a subscription whose only copy is in the log. Stored ones have ended with
    /// the subscription, and the mailbox refuses those on the way.
    pub(crate) fn unsubscribe(&mut self, user_agent: UserAgentId, channel: ChannelId) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut() else { return };
        while let Some(index) = session.window.iter().position(|flying| flying.channel == channel) {
            let flying = session.take(index);
            if let Place::Log(message) = flying.place {
                self.work.settle_log.push(End::of(&message, Outcome::Unsubscribed));
            }
        }
        self.read_on(user_agent);
    }
}
