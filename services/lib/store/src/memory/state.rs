use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use pushgrid_types::{
    ChannelId, Message, MessageId, Outcome, Sequence, SubscriptionRef, Timestamp, UserAgentId,
};

use super::MAX_PENDING;
use crate::{ErrorKind, Ledger, LedgerSnapshot, PageLimit, StoreError, Stored, Subscription, Usage};

/// All that the models hold. Its methods are the contracts of the seams, without waiting.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) closed: bool,
    pub(super) ledger: Arc<Ledger>,
    pub(super) subscriptions: BTreeMap<(UserAgentId, ChannelId), Subscription>,
    /// The highest sequence that was ever given.
    last: u64,
    log: BTreeMap<Sequence, Arc<Message>>,
    stored: BTreeMap<(UserAgentId, Sequence), Arc<Message>>,
}

impl State {
    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed { Err(StoreError::plain(ErrorKind::Closed)) } else { Ok(()) }
    }

    /// What a process would find that starts after this one.
    pub(super) fn next_life(&self) -> Self {
        let pending = u64::try_from(self.pending()).expect("a count of things in memory fits 64 bits");
        let account = LedgerSnapshot { pending, ..self.ledger.snapshot() };
        Self {
            closed: false,
            ledger: Arc::new(Ledger::starting_at(account)),
            subscriptions: self.subscriptions.clone(),
            last: self.last,
            log: self.log.clone(),
            stored: self.stored.clone(),
        }
    }

    fn pending(&self) -> usize {
        self.log.len() + self.stored.len()
    }

    pub(super) fn append(&mut self, mut message: Message) -> Result<Sequence, StoreError> {
        self.check_open()?;
        if self.pending() >= MAX_PENDING {
            return Err(StoreError::plain(ErrorKind::Unavailable));
        }
        self.last += 1;
        let sequence = Sequence(self.last);
        message.sequence = sequence;
        self.log.insert(sequence, Arc::new(message));
        self.ledger.accept(1);
        Ok(sequence)
    }

    /// The oldest messages of the log after `after`.
    pub(super) fn after(&self, after: Sequence, limit: usize) -> Vec<Arc<Message>> {
        let later = self.log.range((Bound::Excluded(after), Bound::Unbounded));
        later.take(limit).map(|(_, message)| Arc::clone(message)).collect()
    }

    pub(super) fn settle_logged(&mut self, sequence: Sequence, outcome: Outcome) {
        if self.log.remove(&sequence).is_some() {
            self.ledger.end(outcome, 1);
        }
    }

    pub(super) fn alive(&self, id: SubscriptionRef) -> bool {
        self.subscriptions.get(&(id.user_agent, id.channel)).is_some_and(|there| there.id == id)
    }

    /// All of [`crate::Mailbox::store`], or nothing of it.
    pub(super) fn store(&mut self, messages: &[Arc<Message>]) -> Result<Vec<Stored>, StoreError> {
        self.check_open()?;
        if messages.iter().any(|it| it.sequence.0 == 0 || it.sequence.0 > self.last) {
            return Err(StoreError::new(ErrorKind::Corrupt, "a message to store was never in the log"));
        }
        Ok(messages.iter().map(|message| self.store_one(message)).collect())
    }

    /// A message that is neither in the log nor in the mailbox has ended before: it is judged like any other, and
    /// nothing is changed.
    fn store_one(&mut self, message: &Arc<Message>) -> Stored {
        let key = (message.to.user_agent, message.sequence);
        if self.stored.contains_key(&key) {
            return Stored::Kept;
        }
        if !self.alive(message.to) {
            self.settle_logged(message.sequence, Outcome::Unsubscribed);
            return Stored::Ended(Outcome::Unsubscribed);
        }
        let rival = self.rival(message);
        if rival.is_some_and(|rival| rival > message.sequence) {
            self.settle_logged(message.sequence, Outcome::Replaced);
            return Stored::Ended(Outcome::Replaced);
        }
        if let Some(message) = self.log.remove(&message.sequence) {
            if let Some(rival) = rival {
                self.end_stored((message.to.user_agent, rival), Outcome::Replaced);
            }
            self.stored.insert(key, message);
        }
        Stored::Kept
    }

    /// The stored message of the same subscription and topic.
    fn rival(&self, message: &Message) -> Option<Sequence> {
        let topic = message.topic.as_ref()?;
        self.of(message.to.user_agent)
            .find(|stored| stored.to == message.to && stored.topic.as_ref() == Some(topic))
            .map(|stored| stored.sequence)
    }

    /// The stored messages of a user agent, in the order of their sequences.
    fn of(&self, user_agent: UserAgentId) -> impl Iterator<Item = &Arc<Message>> {
        let all = (user_agent, Sequence(0))..=(user_agent, Sequence(u64::MAX));
        self.stored.range(all).map(|(_, message)| message)
    }

    fn end_stored(&mut self, key: (UserAgentId, Sequence), outcome: Outcome) {
        if self.stored.remove(&key).is_some() {
            self.ledger.end(outcome, 1);
        }
    }

    /// Ends all stored messages with these keys, and says how many there were.
    fn end_all(&mut self, keys: Vec<(UserAgentId, Sequence)>, outcome: Outcome) -> usize {
        let ended = keys.len();
        for key in keys {
            self.end_stored(key, outcome);
        }
        ended
    }

    pub(super) fn page(
        &self,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Vec<Message> {
        let mut page = Vec::new();
        let mut octets = 0;
        for message in self.of(user_agent).filter(|it| it.sequence > after && !it.is_expired(now)) {
            if page.len() >= limit.messages || (!page.is_empty() && octets >= limit.octets) {
                break;
            }
            octets += message.content.body.len();
            page.push(Message::clone(message));
        }
        page
    }

    pub(super) fn settle_stored(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) -> bool {
        let keys = self.of(user_agent).filter(|it| it.id == id).map(|it| (user_agent, it.sequence)).collect();
        self.end_all(keys, outcome) > 0
    }

    pub(super) fn purge(&mut self, user_agent: UserAgentId, channel: ChannelId) {
        let of_channel = self.of(user_agent).filter(|it| it.to.channel == channel);
        let keys = of_channel.map(|it| (user_agent, it.sequence)).collect();
        self.end_all(keys, Outcome::Unsubscribed);
    }

    pub(super) fn expire(&mut self, now: Timestamp, limit: usize) -> usize {
        let expired = self.stored.iter().filter(|(_, it)| it.is_expired(now));
        let keys = expired.map(|(key, _)| *key).take(limit).collect();
        self.end_all(keys, Outcome::Expired)
    }

    pub(super) fn usage(&self, user_agent: UserAgentId) -> Usage {
        self.of(user_agent).fold(Usage::default(), |sum, message| {
            let octets = u64::try_from(message.content.body.len()).expect("a length fits 64 bits");
            Usage { messages: sum.messages + 1, octets: sum.octets + octets }
        })
    }
}
