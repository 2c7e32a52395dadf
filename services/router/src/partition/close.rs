use pushgrid_store::End;
use pushgrid_types::{Outcome, SessionRef, Timestamp, UserAgentId};
use tokio::sync::oneshot;

use super::{Partition, Place, Turn};

impl Partition {
    /// Closes a session. `done` is answered once all messages in flight to the session are stored.
    pub(crate) fn close(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        session: SessionRef,
        done: oneshot::Sender<()>,
    ) {
        let held = self.agents.get(&user_agent).and_then(|agent| agent.session.as_deref());
        if held.is_some_and(|held| held.at == session) {
            self.end_session(turn.now, user_agent, Some(done));
        } else {
            // A later session holds the user agent, and stored the window of this one when it opened.
            self.work.after_store.push(done);
        }
    }

    /// Ends the session of a user agent, and stores messages in flight whose only copy is in the log.
    pub(super) fn end_session(
        &mut self,
        now: Timestamp,
        user_agent: UserAgentId,
        done: Option<oneshot::Sender<()>>,
    ) {
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        let Some(session) = agent.session.take() else { return };
        self.sessions -= 1;
        self.page_is_over(user_agent);
        let Some(agent) = self.agents.get_mut(&user_agent) else { return };
        for flying in session.window {
            let Place::Log(message) = flying.place else { continue };
            if message.ttl.is_zero() || message.is_expired(now) {
                self.work.settle_log.push(End::of(&message, Outcome::Expired));
            } else {
                self.tally.stored += 1;
                agent.store(message, &mut self.work);
            }
        }
        self.work.releases.push((user_agent, session.epoch));
        self.work.after_store.extend(done);
        self.forget_if_idle(user_agent);
    }
}
