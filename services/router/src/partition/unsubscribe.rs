use pushgrid_store::{End, Eviction};
use pushgrid_types::{ChannelId, Outcome, UserAgentId};

use super::{Partition, Place, Turn};

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

    /// Closes the session of a user agent whose last subscription has ended.
    pub(crate) fn dismiss(&mut self, turn: Turn<'_>, user_agent: UserAgentId) {
        let session = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        let Some(at) = session.map(|session| session.at) else { return };
        self.end_session(turn.now, user_agent, None);
        turn.nodes.evict(at, Eviction::Superseded);
    }
}
