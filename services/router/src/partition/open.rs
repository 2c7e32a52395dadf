//! Opening, resuming and losing sessions. Invariant: at most one session holds a user agent, the one with the
//! highest epoch; any other is evicted.

use pushgrid_store::{Claim, Eviction};
use pushgrid_types::{NodeId, Urgency, UserAgentId};

use super::{Backlog, Partition, Session, TopicBound, Turn};

impl Partition {
    /// Opens a session by its claim on `user_agent`, for messages of `min_urgency` and above. An earlier session is
    /// evicted and its messages in flight are stored; the mailbox is sent from its beginning, so messages without an
    /// acknowledgement are redelivered.
    pub(crate) fn open(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        claim: Claim,
        min_urgency: Urgency,
    ) {
        let Claim { epoch, session } = claim;
        let held = self.session_of(user_agent);
        if held.is_some_and(|held| held.epoch > epoch) {
            // Two sockets raced, and the later claim arrived first.
            turn.nodes.evict(session, Eviction::Superseded);
            return;
        }
        if held.is_some_and(|held| held.epoch == epoch && held.at == session) {
            // A look-up found the claim before this event arrived.
            return;
        }
        if let Some(old) = held.map(|held| held.at) {
            if old == session {
                // A retried call, whose answer was lost. The socket still has the messages in flight.
                self.renew_claim(user_agent, claim);
                return self.set_min_urgency(user_agent, session, min_urgency);
            }
            self.end_session(turn.now, user_agent, None);
            turn.nodes.evict(old, Eviction::Superseded);
        }
        self.sessions += 1;
        let agent = self.agents.entry(user_agent).or_default();
        agent.session = Some(Box::new(Session {
            at: session,
            epoch,
            opened_at: turn.now,
            window: std::collections::VecDeque::new(),
            backlog: Backlog::new(min_urgency),
            topic_bound: turn.log_end.map_or(TopicBound::Unknown, TopicBound::At),
        }));
        self.read_on(user_agent);
    }

    fn renew_claim(&mut self, user_agent: UserAgentId, claim: Claim) {
        let agent = self.agents.get_mut(&user_agent);
        if let Some(session) = agent.and_then(|agent| agent.session.as_deref_mut()) {
            session.epoch = claim.epoch;
        }
    }

    /// Resumes a session by a claim made at an earlier owner of the partition, or while the session was
    /// thought lost. A known session stays as it is; any other is opened, and its node skips redelivered
    /// messages still on the socket. Without a `min_urgency`, as from presence, the node tells of it when it is sent
    /// a message that is not for the session.
    pub(crate) fn resume(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        claim: Claim,
        min_urgency: Option<Urgency>,
    ) {
        let known = self
            .session_of(user_agent)
            .is_some_and(|held| held.at == claim.session && held.epoch >= claim.epoch);
        if !known {
            self.open(turn, user_agent, claim, min_urgency.unwrap_or(Urgency::LEAST));
        } else if let Some(min_urgency) = min_urgency {
            self.set_min_urgency(user_agent, claim.session, min_urgency);
        }
    }

    /// Reports a session known here; presence may know of others.
    pub(crate) fn is_connected(&self, user_agent: UserAgentId) -> bool {
        self.session_of(user_agent).is_some()
    }

    /// Ends all sessions of a node.
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
