//! The decisions of one cycle: the result of each operation, in sight of the results before.
//!
//! Invariant: the changes of a cycle end or make each thing at most once, so that writing all of them twice,
//! in whole or in part, is the same as writing them once.

mod end;
mod store;
mod subscribe;

use std::collections::{HashMap, HashSet};

use pushgrid_mailbox::Cause;
use pushgrid_store::{Change, End, StoredMessage, Subscription};
use pushgrid_types::{ChannelId, MessageId, Outcome, ReplaceKey, Sequence, UserAgentId};

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
    /// Messages stored by this cycle, with the change of each.
    fresh: HashMap<Sequence, Fresh>,
    /// Sequences of messages ended in this cycle.
    ended: HashSet<Sequence>,
    /// Channels with a subscription changed in this cycle: a second change has to wait for the next.
    changed: HashSet<(UserAgentId, ChannelId)>,
    has_deferred: bool,
    entered: Entered,
    /// Those that are told of, and those that owe a receipt.
    ends: Vec<End>,
    answers: Vec<Answer>,
}

/// A message stored by this cycle.
#[derive(Debug, Clone, Copy)]
struct Fresh {
    /// Index of the change.
    index: usize,
    stored: StoredMessage,
}

/// Result of a cycle.
pub(super) struct Done {
    pub(super) changes: Vec<Change>,
    pub(super) entered: Entered,
    pub(super) ends: Vec<End>,
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
            ends: Vec::new(),
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
            Operation::Store { .. } | Operation::Settle { .. } | Operation::Expire { .. } => false,
        }
    }

    pub(super) fn finish(mut self) -> Done {
        let moved: HashSet<_> = self.entered.moved.iter().copied().collect();
        for change in &self.changes {
            match change {
                Change::Stored { .. } => self.entered.came += 1,
                // What ended before it came was never there.
                Change::Ended { sequence, .. } if !moved.contains(sequence) => self.entered.left += 1,
                Change::Ended { .. } | Change::Claimed | Change::Subscribed(_) | Change::Unsubscribed(_) => {}
            }
        }
        Done { changes: self.changes, entered: self.entered, ends: self.ends, answers: self.answers }
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, pushgrid_store::StoreError>) {
        self.answers.push(Box::new(move || drop(reply.send(answer))));
    }

    /// The message waiting under an id.
    fn stored(&self, of: UserAgentId, id: MessageId) -> Option<StoredMessage> {
        self.known.stored.get(&(of, id)).copied().filter(|stored| !self.ended.contains(&stored.sequence))
    }

    /// The message waiting in a topic of the present life of a channel.
    fn waiting_in_topic(&self, of: UserAgentId, on: ChannelId, topic: &ReplaceKey) -> Option<StoredMessage> {
        let found = self.known.topics.get(&(of, on, topic.clone())).copied();
        let former = self.former.get(&(of, on)).copied().unwrap_or_default();
        found.filter(|stored| stored.sequence > former && !self.ended.contains(&stored.sequence))
    }

    fn subscription(&self, of: UserAgentId, on: ChannelId) -> Option<Subscription> {
        self.known.subscriptions.get(&(of, on)).cloned()
    }

    /// Ends a waiting message, once: the first cause stands. Tells whether this was the first.
    fn end(&mut self, stored: StoredMessage, cause: Cause) -> bool {
        self.end_as(stored, cause.outcome())
    }

    fn end_as(&mut self, stored: StoredMessage, outcome: Outcome) -> bool {
        if !self.ended.insert(stored.sequence) {
            return false;
        }
        self.entered.ended[outcome.index()] += 1;
        self.tell(End::of_stored(stored, outcome));
        let change = stored.ended(outcome);
        // What is stored and ended in one cycle only ends.
        match self.fresh.remove(&stored.sequence) {
            Some(fresh) => self.changes[fresh.index] = change,
            None => self.changes.push(change),
        }
        true
    }

    fn tell(&mut self, end: End) {
        if self.core.context.ends.is_some() || self.core.context.owes_receipt(&end) {
            self.ends.push(end);
        }
    }
}
