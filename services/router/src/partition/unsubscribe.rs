use pushgrid_types::{ChannelId, Outcome, UserAgentId};

use super::{Partition, Place};

impl Partition {
    /// A subscription has ended. What the log alone holds of it ends here; the mailbox refuses what is on its way
    /// there, and is purged by whoever calls this.
    pub(crate) fn unsubscribe(&mut self, user_agent: UserAgentId, channel: ChannelId) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.as_deref_mut() else { return };
        while let Some(index) = session.window.iter().position(|flying| flying.channel == channel) {
            let flying = session.take(index);
            if let Place::Log(message) = flying.place {
                self.work.settle_log.push((message.sequence, Outcome::Unsubscribed));
            }
        }
        self.read_on(user_agent);
    }
}
