//! The decisions of one cycle: what each operation comes to, seeing what the ones before it have come to.
//!
//! Invariant: the changes of a cycle end or make each thing at most once, so that to write them twice, in whole or in
//! part, is the same as to write them once.

mod end;
mod store;
mod subscribe;

use std::collections::{HashMap, HashSet};

use pushgrid_store::{Change, StoredMessage, Subscription};
use pushgrid_types::{ChannelId, MessageId, Outcome, Sequence, Topic, UserAgentId};

use super::gather::Known;
use crate::core::Core;
use crate::operation::{Operation, Reply};
use crate::tracker::Entered;

/// Tells whoever asked, once everything is durable.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// The last message of the earlier lives of channels.
type Former = HashMap<(UserAgentId, ChannelId), Sequence>;

pub(super) struct Draft<'c> {
    core: &'c Core,
    known: Known,
    former: &'c mut Former,
    changes: Vec<Change>,
    /// Which change stores a message.
    fresh: HashMap<Sequence, Fresh>,
    /// What has ended in this cycle.
    ended: HashSet<Sequence>,
    /// Channels whose subscription has changed in this cycle: a second change has to wait for the next.
    changed: HashSet<(UserAgentId, ChannelId)>,
    has_deferred: bool,
    entered: Entered,
    answers: Vec<Answer>,
}

/// A message that this cycle stores.
#[derive(Debug, Clone, Copy)]
struct Fresh {
    /// Its place among the changes.
    index: usize,
    of: UserAgentId,
    on: ChannelId,
    stored: StoredMessage,
}

/// What a cycle has come to.
pub(super) struct Done {
    pub(super) changes: Vec<Change>,
    pub(super) entered: Entered,
    pub(super) answers: Vec<Answer>,
}

impl<'c> Draft<'c> {
    pub(super) fn new(core: &'c Core, known: Known, former: &'c mut Former) -> Self {
        Self {
            core,
            known,
            former,
            changes: Vec::new(),
            fresh: HashMap::new(),
            ended: HashSet::new(),
            changed: HashSet::new(),
            has_deferred: false,
            entered: Entered::default(),
            answers: Vec::new(),
        }
    }

    /// Decides one operation, or gives it back for the next cycle.
    pub(super) fn decide(&mut self, operation: Operation) -> Option<Operation> {
        if self.has_to_wait(&operation) {
            self.has_deferred = true;
            return Some(operation);
        }
        match operation {
            Operation::Store { messages, reply } => {
                let answer = self.store_all(&messages);
                self.answer(reply, answer);
            }
            Operation::Settle { user_agent, ended, reply } => {
                let answer = ended.iter().map(|(id, outcome)| self.settle(user_agent, *id, *outcome));
                let answer = answer.collect();
                self.answer(reply, Ok(answer));
            }
            Operation::Purge { user_agent, channel, reply } => {
                self.purge(user_agent, channel);
                self.answer(reply, Ok(()));
            }
            Operation::Expire { reply, .. } => {
                let answer = self.expire();
                self.answer(reply, Ok(answer));
            }
            Operation::Put { expected, new, reply } => {
                let answer = self.put(expected, new);
                self.answer(reply, Ok(answer));
            }
            Operation::Remove { user_agent, channel, reply } => {
                let answer = self.remove(user_agent, channel);
                self.answer(reply, Ok(answer));
            }
            Operation::Flush { reply } => self.answer(reply, Ok(())),
        }
        None
    }

    fn has_to_wait(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Put { new, .. } => self.changed.contains(&(new.id.user_agent, new.id.channel)),
            Operation::Remove { user_agent, channel, .. } => self.changed.contains(&(*user_agent, *channel)),
            Operation::Flush { .. } => self.has_deferred,
            Operation::Store { .. }
            | Operation::Settle { .. }
            | Operation::Purge { .. }
            | Operation::Expire { .. } => false,
        }
    }

    pub(super) fn finish(mut self) -> Done {
        let moved: HashSet<_> = self.entered.moved.iter().copied().collect();
        for change in &self.changes {
            match change {
                Change::Stored { .. } => self.entered.came += 1,
                // What ended before it came was never there.
                Change::Ended { stored, .. } if !moved.contains(&stored.sequence) => self.entered.left += 1,
                Change::Ended { .. } | Change::Claimed | Change::Subscribed(_) | Change::Unsubscribed(_) => {}
            }
        }
        Done { changes: self.changes, entered: self.entered, answers: self.answers }
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, pushgrid_store::StoreError>) {
        self.answers.push(Box::new(move || drop(reply.send(answer))));
    }

    /// What waits under an id.
    fn stored(&self, of: UserAgentId, id: MessageId) -> Option<StoredMessage> {
        self.known.stored.get(&(of, id)).copied().filter(|stored| !self.ended.contains(&stored.sequence))
    }

    /// What waits in a topic of the present life of a channel.
    fn in_topic(&self, of: UserAgentId, on: ChannelId, topic: &Topic) -> Option<StoredMessage> {
        let found = self.known.topics.get(&(of, on, topic.clone())).copied();
        let former = self.former.get(&(of, on)).copied().unwrap_or_default();
        found.filter(|stored| stored.sequence > former && !self.ended.contains(&stored.sequence))
    }

    fn subscription(&self, of: UserAgentId, on: ChannelId) -> Option<Subscription> {
        self.known.subscriptions.get(&(of, on)).copied()
    }

    /// Ends what waits, once. Says whether that was the end of it.
    fn end(&mut self, of: UserAgentId, stored: StoredMessage, outcome: Outcome) -> bool {
        if !self.ended.insert(stored.sequence) {
            return false;
        }
        self.entered.ended[outcome.index()] += 1;
        let change = Change::Ended { user_agent: of, stored, outcome };
        // What is stored and ended in one cycle only ends.
        match self.fresh.remove(&stored.sequence) {
            Some(fresh) => self.changes[fresh.index] = change,
            None => self.changes.push(change),
        }
        true
    }
}
