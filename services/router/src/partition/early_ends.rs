//! Acknowledgements received before the log hands their messages out again, after a take-over. Bounded in all
//! and for each user agent; beyond the bounds a message is redelivered.

use std::collections::HashMap;

use pushgrid_types::{MessageId, Outcome, Sequence, UserAgentId};

use super::Limits;

/// Ends of messages not read from the log by this owner: sent by an earlier owner, and acknowledged before
/// the log handed the messages out again.
///
/// Invariant: an end is remembered until the message has been read, or the log to its end at the take-over,
/// however long the reading takes. No earlier owner has read beyond.
/// Invariant: a user agent fills only one share, whatever ids it makes up.
#[derive(Debug)]
pub(super) struct EarlyEnds {
    /// End of the log at the take-over: an earlier owner can have sent only messages before this end.
    inherited_to: Sequence,
    has_caught_up: bool,
    of: HashMap<UserAgentId, HashMap<MessageId, Outcome>>,
    count: usize,
    is_full: bool,
}

impl EarlyEnds {
    pub(super) fn new(inherited_to: Sequence) -> Self {
        Self { inherited_to, has_caught_up: false, of: HashMap::new(), count: 0, is_full: false }
    }

    /// Records the read position of the log. At the end of the inherited part all remembered ends are
    /// dropped.
    pub(super) fn log_read_to(&mut self, read_to: Sequence) {
        if !self.has_caught_up && read_to >= self.inherited_to {
            self.has_caught_up = true;
            (self.of, self.count) = (HashMap::new(), 0);
        }
    }

    /// True once every message possibly sent or stored by an earlier owner has been read.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// Remembers the outcome of a message; the first one counts. Beyond the bounds nothing is remembered: the
    /// message is redelivered with the same id (promise P3), and ends with the next acknowledgement.
    pub(super) fn remember(
        &mut self,
        limits: &Limits,
        user_agent: UserAgentId,
        id: MessageId,
        outcome: Outcome,
    ) {
        if self.has_caught_up {
            return;
        }
        if self.count >= limits.early_ends {
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(
                    remembered = self.count,
                    "too many acknowledgements of messages that are not read yet: some of these are redelivered"
                );
            }
            return;
        }
        let own = self.of.entry(user_agent).or_default();
        if own.len() < limits.early_ends_each && !own.contains_key(&id) {
            own.insert(id, outcome);
            self.count += 1;
        }
    }

    /// Takes the outcome out once the message has come out of the log, or never will.
    pub(super) fn take(&mut self, user_agent: UserAgentId, id: MessageId) -> Option<Outcome> {
        let own = self.of.get_mut(&user_agent)?;
        let outcome = own.remove(&id)?;
        self.count -= 1;
        if own.is_empty() {
            self.of.remove(&user_agent);
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, user_agent};
    use super::*;

    fn id(label: usize) -> MessageId {
        let mut octets = [0; MessageId::SIZE];
        octets[..8].copy_from_slice(&label.to_le_bytes());
        MessageId::from_octets(octets)
    }

    #[test]
    fn one_user_agent_fills_its_own_share_and_no_other() {
        let limits = Limits { early_ends: 100, early_ends_each: 10, ..limits() };
        let mut ends = EarlyEnds::new(Sequence(10));
        for label in 0..1000 {
            ends.remember(&limits, user_agent(1), id(label), Outcome::Delivered);
        }
        assert_eq!(ends.count, 10);
        ends.remember(&limits, user_agent(2), id(3), Outcome::Expired);
        assert_eq!(ends.take(user_agent(2), id(3)), Some(Outcome::Expired));
        assert_eq!(ends.take(user_agent(2), id(4)), None, "that one is the first user agent's");
        for other in 2..=255 {
            for label in 0..5 {
                ends.remember(&limits, user_agent(other), id(label), Outcome::Delivered);
            }
        }
        assert_eq!(ends.count, 100, "all of them have a bound");
        assert_eq!(ends.take(user_agent(1), id(9)), Some(Outcome::Delivered));
    }

    #[test]
    fn the_first_end_is_remembered_until_what_was_inherited_has_been_read() {
        let mut ends = EarlyEnds::new(Sequence(10));
        ends.remember(&limits(), user_agent(1), id(1), Outcome::Delivered);
        ends.remember(&limits(), user_agent(1), id(1), Outcome::Expired);
        ends.log_read_to(Sequence(9));
        assert_eq!(ends.take(user_agent(1), id(1)), Some(Outcome::Delivered));
        ends.remember(&limits(), user_agent(1), id(2), Outcome::Delivered);
        ends.log_read_to(Sequence(10));
        ends.remember(&limits(), user_agent(1), id(3), Outcome::Delivered);
        assert_eq!((ends.count, ends.of.len()), (0, 0), "no earlier owner has sent anything beyond");
    }
}
