use pushgrid_runtime::spans;
use pushgrid_store::{End, Settlement};
use pushgrid_types::{Outcome, UserAgentId};

use super::{InFlight, Partition, Place, Turn};

impl Partition {
    /// Ends messages as reported by the user agent, or by the node in its place. A message sent on an earlier
    /// session is stored by now, or on the way into the mailbox.
    pub(crate) fn settle(&mut self, turn: Turn<'_>, user_agent: UserAgentId, ended: &[Settlement]) {
        for &Settlement { id, outcome } in ended {
            let session = self.agents.get_mut(&user_agent).and_then(|agent| agent.session.as_deref_mut());
            let flying = session.and_then(|session| session.find(id).map(|index| session.take(index)));
            let trace = flying.as_ref().and_then(|flying| flying.trace.as_ref());
            let span = spans::settle(user_agent, id, trace);
            if !span.is_disabled() {
                span.in_scope(
                    || tracing::debug!(target: spans::MESSAGES, outcome = outcome.as_str(), "settled"),
                );
            }
            span.in_scope(|| self.settle_one(turn, user_agent, Settlement { id, outcome }, flying));
        }
        self.read_on(user_agent);
    }

    /// Ends one message, which was in flight if `flying`.
    fn settle_one(
        &mut self,
        turn: Turn<'_>,
        user_agent: UserAgentId,
        Settlement { id, outcome }: Settlement,
        flying: Option<InFlight>,
    ) {
        if let Some(flying) = &flying
            && outcome == Outcome::Delivered
        {
            self.tally.delivered.push(turn.now.since(flying.accepted_at));
        }
        match flying.map(|flying| flying.place) {
            Some(Place::Log(message)) => self.work.settle_log.push(End::of(&message, outcome)),
            Some(Place::Mailbox(_)) => self.work.end_stored(user_agent, id, outcome),
            Some(Place::Moving) | None => {
                let agent = self.agents.get_mut(&user_agent);
                let storing = agent.and_then(|agent| agent.storing.iter_mut().find(|it| it.id == id));
                match storing {
                    Some(storing) => drop(storing.ended.get_or_insert(outcome)),
                    None => self.end_unknown(user_agent, id, outcome),
                }
            }
        }
    }
}
