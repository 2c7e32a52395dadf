use pushgrid_store::Eviction;
use pushgrid_types::{Epoch, Sequence, SessionRef, UserAgentId};

use super::{Backlog, Partition, Session, Turn};

impl Partition {
    /// A socket has claimed `user_agent`. An earlier one is closed, what was in flight to it is kept, and all that
    /// waits is sent from its beginning: a message that the earlier socket never acknowledged comes again.
    pub(crate) fn open(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        session: SessionRef,
        epoch: Epoch,
    ) {
        let held = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if held.is_some_and(|held| held.epoch > epoch) {
            // Two sockets raced, and the later claim was entered first.
            turn.nodes.evict(session, Eviction::Superseded);
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
}
