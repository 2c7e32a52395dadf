//! Invariants of the world, meanwhile and at its end.

use std::collections::HashSet;

use pushgrid_types::{Outcome, Urgency};

use super::AGENTS;
use super::world::{World, limits, user_agent};

impl World {
    /// Checks the invariants that hold whenever no call is under way.
    pub(super) fn check_at_rest(&self) {
        for id in &self.acknowledged {
            assert!(self.outcomes.contains_key(id), "acknowledged, and still pending");
        }
        let pending = self.posted.iter().filter(|message| !self.outcomes.contains_key(&message.id));
        let mut topics = HashSet::new();
        for message in pending.filter(|message| message.topic.is_some()) {
            assert!(topics.insert((message.to, message.topic.clone())), "two pending messages of one topic");
        }
    }

    /// Checks that a socket with room in its window has been sent all stored messages of its user agent.
    fn check_sockets(&self) {
        let sockets = self.nodes.sockets.lock();
        for (agent, at) in &self.sockets {
            let session = self.partition.agents.get(&user_agent(*agent)).and_then(|it| it.session.as_deref());
            let has_room = session.is_some_and(|it| it.at == *at && it.window.len() < limits().window);
            let Some(sent) = sockets.get(at).filter(|_| has_room) else { continue };
            let owed = self.posted.iter().filter(|message| message.to.user_agent == user_agent(*agent));
            let min_urgency = self.nodes.min_urgency.lock()[at];
            let owed = owed.filter(|it| it.urgency >= min_urgency && !it.ttl.is_zero());
            for message in owed.filter(|it| !self.outcomes.contains_key(&it.id)) {
                assert!(sent.iter().any(|it| it.id == message.id), "kept from a socket that has room");
            }
        }
    }

    /// Reconnects every user agent, answers every call and acknowledges every delivery.
    pub(super) fn finish(&mut self) {
        self.read_log(usize::MAX);
        self.collect();
        self.answer_all();
        self.check_at_rest();
        self.check_sockets();
        // What is below an urgency comes when it falls, or on the next session.
        for agent in 0..AGENTS {
            self.set_urgency(agent, Urgency::LEAST);
        }
        self.collect();
        self.answer_all();
        self.check_sockets();
        for agent in 0..AGENTS {
            self.connect(agent);
        }
        self.collect();
        self.acknowledge_all();
    }

    pub(super) fn check(&self) {
        assert!(self.log.is_empty(), "{} messages are left in the log", self.log.len());
        assert!(self.mailbox.is_empty(), "{} messages are left in the mailbox", self.mailbox.len());
        for message in &self.posted {
            match self.outcomes[&message.id] {
                Outcome::Delivered => assert!(self.seen.contains(&message.id), "delivered, and never sent"),
                Outcome::Expired => assert!(message.ttl.is_zero(), "a message with time left has expired"),
                Outcome::Cancelled => {}
                Outcome::Replaced => {
                    let newer = self.posted.iter().any(|other| {
                        other.sequence > message.sequence
                            && other.to.user_agent == message.to.user_agent
                            && other.topic == message.topic
                    });
                    assert!(message.topic.is_some() && newer, "replaced by nothing newer");
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}
