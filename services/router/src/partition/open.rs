use pushgrid_store::{Claim, Eviction};
use pushgrid_types::{NodeId, Sequence, UserAgentId};

use super::{Backlog, Partition, Session, Turn};

impl Partition {
    /// A socket has claimed `user_agent`. An earlier one is closed, what was in flight to it is kept, and all that
    /// waits is sent from its beginning: a message that the earlier socket never acknowledged comes again.
    pub(crate) fn open(&mut self, turn: Turn<'_>, user_agent: UserAgentId, claim: Claim) {
        let Claim { epoch, session } = claim;
        let held = self.session_of(user_agent);
        if held.is_some_and(|held| held.epoch > epoch) {
            // Two sockets raced, and the later claim was entered first.
            turn.nodes.evict(session, Eviction::Superseded);
            return;
        }
        if held.is_some_and(|held| held.epoch == epoch && held.at == session) {
            // A look-up found the claim before this event came.
            return;
        }
        if let Some(old) = held.map(|held| held.at) {
            self.end_session(turn.now, user_agent, None);
            if old != session {
                turn.nodes.evict(old, Eviction::Superseded);
            }
        }
        self.sessions += 1;
        let agent = self.agents.entry(user_agent).or_default();
        agent.session = Some(Box::new(Session {
            at: session,
            epoch,
            opened_at: turn.now,
            window: std::collections::VecDeque::new(),
            cursor: Sequence::default(),
            backlog: Backlog::Some,
        }));
        self.read_on(user_agent);
    }

    /// A socket holds `user_agent` by a claim that was made before: at an earlier owner of the partition, or while this
    /// one took it for lost. Nothing happens when it is known; else it is as if it had just opened, and the node passes
    /// over what it still has of the messages that are sent again.
    pub(crate) fn resume(&mut self, turn: Turn<'_>, user_agent: UserAgentId, claim: Claim) {
        let known = self
            .session_of(user_agent)
            .is_some_and(|held| held.at == claim.session && held.epoch >= claim.epoch);
        if !known {
            self.open(turn, user_agent, claim);
        }
    }

    /// Whether this user agent is on a socket, as far as is known here.
    pub(crate) fn is_connected(&self, user_agent: UserAgentId) -> bool {
        self.session_of(user_agent).is_some()
    }

    /// A node is gone, and all its sockets with it.
    pub(crate) fn node_gone(&mut self, turn: Turn<'_>, node: NodeId) {
        let on_it = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.session.as_deref().is_some_and(|session| session.at.node == node));
        let on_it: Vec<_> = on_it.map(|(user_agent, _)| *user_agent).collect();
        for user_agent in on_it {
            self.end_session(turn.now, user_agent, None);
        }
    }

    fn session_of(&self, user_agent: UserAgentId) -> Option<&Session> {
        self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref())
    }
}
