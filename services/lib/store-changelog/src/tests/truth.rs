//! What must be so in the end, found out in another way: by what was asked and answered, and by all that was ever
//! written to the changelog.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pushgrid_store::{Change, Entry, LedgerSnapshot, Stored, Subscription};
use pushgrid_types::{
    ChannelId, DropReason, LeaderEpoch, Message, MessageId, Outcome, Sequence, SubscriptionRef, Timestamp,
    UserAgentId,
};

/// Outcome with which the tests end a message, always the same: so its entry can be checked afterwards.
pub(super) fn outcome_of(sequence: Sequence) -> Outcome {
    match sequence.0 % 3 {
        0 => Outcome::Delivered,
        1 => Outcome::Undecryptable,
        _ => Outcome::Dropped(DropReason::NotDelivered),
    }
}

/// Calls of a test, and their answers.
#[derive(Debug, Default)]
pub(super) struct ReadResult {
    pub(super) accepted: BTreeMap<Sequence, Arc<Message>>,
    /// Messages asked to end in the log.
    pub(super) settled: HashSet<Sequence>,
    /// Messages asked to end in the mailbox.
    pub(super) ended: HashSet<MessageId>,
    pub(super) unsubscribed: HashSet<(UserAgentId, ChannelId)>,
    pub(super) expired_at: Timestamp,
    /// Messages known to have ended: no later page may hold them.
    pub(super) gone: HashSet<Sequence>,
    /// Messages known to have ended or been stored: no later read of the log may hand them out.
    pub(super) left: HashSet<Sequence>,
    /// Answers, which must therefore be written and count.
    facts: Vec<Fact>,
}

#[derive(Debug)]
enum Fact {
    Ended(Sequence, Option<Outcome>),
    StoredOrEnded(Sequence),
    Subscribed(SubscriptionRef),
}

impl ReadResult {
    pub(super) fn stored(&mut self, messages: &[Arc<Message>], answers: &[Stored]) {
        for (message, answer) in messages.iter().zip(answers) {
            self.left.insert(message.sequence);
            match answer {
                Stored::Kept => self.facts.push(Fact::StoredOrEnded(message.sequence)),
                Stored::Ended(outcome) => {
                    self.gone.insert(message.sequence);
                    self.facts.push(Fact::Ended(message.sequence, Some(*outcome)));
                }
            }
        }
    }

    pub(super) fn was_there(&mut self, id: MessageId) {
        let of = self.accepted.values().find(|message| message.id == id).unwrap();
        self.gone.insert(of.sequence);
        self.facts.push(Fact::Ended(of.sequence, Some(outcome_of(of.sequence))));
    }

    pub(super) fn subscribed(&mut self, new: &Subscription) {
        self.facts.push(Fact::Subscribed(new.id));
    }
}

/// Entries of a changelog that count, by the rule alone.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) waiting: BTreeMap<Sequence, Arc<Message>>,
    pub(super) subscriptions: BTreeMap<(UserAgentId, ChannelId), Subscription>,
    stored: BTreeMap<Sequence, Arc<Message>>,
    ended: BTreeMap<Sequence, Outcome>,
    subscribed: Vec<SubscriptionRef>,
}

impl Truth {
    pub(super) fn of(history: &[Entry]) -> Self {
        let mut truth = Self::default();
        let mut highest = LeaderEpoch(0);
        for entry in history {
            if entry.change == Change::Claimed {
                highest = highest.max(entry.by);
            } else if entry.by >= highest {
                truth.take(&entry.change);
            }
        }
        truth
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::Claimed => {}
            Change::Subscribed(made) => {
                self.subscribed.push(made.id);
                self.subscriptions.insert((made.id.user_agent, made.id.channel), made.clone());
            }
            Change::Unsubscribed(id) => {
                let key = (id.user_agent, id.channel);
                if self.subscriptions.get(&key).is_some_and(|there| there.id == *id) {
                    self.subscriptions.remove(&key);
                }
            }
            Change::Stored { message, .. } => {
                assert!(!self.ended.contains_key(&message.sequence), "a message is stored after it ended");
                let same = |it: &Arc<Message>| {
                    message.topic.is_some()
                        && (it.to, &it.topic) == (message.to, &message.topic)
                        && it.sequence != message.sequence
                };
                assert!(!self.waiting.values().any(same), "two messages of one topic wait");
                self.waiting.insert(message.sequence, Arc::clone(message));
                self.stored.insert(message.sequence, Arc::clone(message));
            }
            Change::Ended { sequence, outcome, .. } => {
                self.waiting.remove(sequence);
                let first = *self.ended.entry(*sequence).or_insert(*outcome);
                assert_eq!(first, *outcome, "a message ends with one outcome, however often that is written");
            }
        }
    }

    /// Checks every answer, and every end asked for. Returns the account that follows.
    pub(super) fn check(&self, asked: &ReadResult) -> LedgerSnapshot {
        for fact in &asked.facts {
            let holds = match fact {
                Fact::Ended(sequence, outcome) => {
                    let ended = self.ended.get(sequence);
                    ended.is_some() && (outcome.is_none() || ended == outcome.as_ref())
                }
                Fact::StoredOrEnded(sequence) => {
                    self.stored.contains_key(sequence) || self.ended.contains_key(sequence)
                }
                Fact::Subscribed(id) => self.subscribed.contains(id),
            };
            assert!(holds, "it was answered, and is not so: {fact:?}");
        }
        let mut account = LedgerSnapshot {
            accepted: asked.accepted.len() as u64,
            pending: self.waiting.len() as u64,
            ..LedgerSnapshot::default()
        };
        for (sequence, message) in &asked.accepted {
            if self.waiting.contains_key(sequence) {
                continue;
            }
            let outcome = if let Some(outcome) = self.ended.get(sequence) {
                self.assert_asked(asked, message, *outcome);
                *outcome
            } else {
                assert!(asked.settled.contains(sequence), "{sequence:?} was accepted and is lost");
                outcome_of(*sequence)
            };
            account.ended[outcome.index()] += 1;
        }
        account
    }

    fn assert_asked(&self, asked: &ReadResult, message: &Message, outcome: Outcome) {
        let key = (message.to.user_agent, message.to.channel);
        // What waits from an earlier life of the channel may end as replaced instead of as unsubscribed.
        let newer = || {
            asked.accepted.range(message.sequence..).skip(1).any(|(_, it)| {
                (it.to.user_agent, it.to.channel) == key && it.topic.is_some() && it.topic == message.topic
            })
        };
        let is_right = match outcome {
            Outcome::Replaced => newer(),
            Outcome::Expired => message.is_expired(asked.expired_at),
            Outcome::Unsubscribed => {
                asked.unsubscribed.contains(&key)
                    || self.subscriptions.get(&key).is_none_or(|there| there.id != message.to)
            }
            Outcome::Delivered
            | Outcome::Cancelled
            | Outcome::Undecryptable
            | Outcome::Dropped(DropReason::NotDelivered) => asked.ended.contains(&message.id),
            // These are never written: the log, or the changelog, had nothing of them any more.
            Outcome::Dropped(DropReason::LostFromLog | DropReason::Damaged) => false,
        };
        assert!(is_right, "{:?} ended as {outcome:?}, which nobody asked for", message.sequence);
    }
}
