use pushgrid_store::Settlement;
use pushgrid_types::{Outcome, UserAgentId};

use super::{Partition, Place, Turn};

impl Partition {
    /// The user agent, or the node for it, has ended messages. They may have been sent on an earlier session: then
    /// they are in the mailbox by now, or on their way there.
    pub(crate) fn settle(&mut self, turn: Turn<'_>, user_agent: UserAgentId, ended: &[Settlement]) {
        for &Settlement { id, outcome } in ended {
            let Some(agent) = self.agents.get_mut(&user_agent) else {
                self.end_unknown(turn.now, user_agent, id, outcome);
                continue;
            };
            let session = agent.session.as_deref_mut();
            let flying = session.and_then(|session| session.find(id).map(|index| session.take(index)));
            if let Some(flying) = &flying
                && outcome == Outcome::Delivered
            {
                self.tally.delivered.push(turn.now.since(flying.accepted_at));
            }
            match flying.map(|flying| (flying.sequence, flying.place)) {
                Some((sequence, Place::Log(_))) => self.work.settle_log.push((sequence, outcome)),
                Some((_, Place::Mailbox(_))) => self.work.end_stored(user_agent, id, outcome),
                Some((_, Place::Moving)) | None => {
                    match agent.storing.iter_mut().find(|storing| storing.id == id) {
                        Some(storing) => drop(storing.ended.get_or_insert(outcome)),
                        None => self.end_unknown(turn.now, user_agent, id, outcome),
                    }
                }
            }
        }
        self.read_on(user_agent);
    }
}
