use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use pushgrid_mailbox::{Cause, Change, Decision, Facts, Place, judge};
use pushgrid_types::{
    ChannelId, Message, MessageId, Outcome, ReplaceKey, Sequence, SubscriptionRef, Timestamp, UserAgentId,
};

use super::MAX_PENDING;
use pushgrid_store::{
    End, EndFeed, ErrorKind, Ledger, LedgerSnapshot, Page, PageLimit, PageStart, StoreError, Stored,
    Subscription, Usage,
};

/// The whole state of the models. The methods are the contracts of the seams, without waiting.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) closed: bool,
    pub(super) ledger: Arc<Ledger>,
    pub(super) ends: Option<EndFeed>,
    /// Dates receipts.
    pub(super) now: Timestamp,
    pub(super) subscriptions: BTreeMap<(UserAgentId, ChannelId), Subscription>,
    /// The highest sequence ever given.
    last: u64,
    log: BTreeMap<Sequence, Arc<Message>>,
    stored: BTreeMap<(UserAgentId, Sequence), Arc<Message>>,
}

impl State {
    pub(super) fn telling(ends: EndFeed) -> Self {
        Self { now: ends.now(), ends: Some(ends), ..Self::default() }
    }

    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed { Err(StoreError::plain(ErrorKind::Closed)) } else { Ok(()) }
    }

    /// The state for a process started after this one.
    pub(super) fn next_life(&self) -> Self {
        let pending = u64::try_from(self.pending()).expect("a count of things in memory fits 64 bits");
        let account = LedgerSnapshot { pending, ..self.ledger.snapshot() };
        Self {
            closed: false,
            ledger: Arc::new(Ledger::starting_at(account)),
            ends: self.ends.clone(),
            now: self.now,
            subscriptions: self.subscriptions.clone(),
            last: self.last,
            log: self.log.clone(),
            stored: self.stored.clone(),
        }
    }

    fn pending(&self) -> usize {
        self.log.len() + self.stored.len()
    }

    pub(super) fn append(&mut self, message: Message) -> Result<Sequence, StoreError> {
        self.check_open()?;
        if self.pending() >= MAX_PENDING {
            return Err(StoreError::plain(ErrorKind::Unavailable));
        }
        Ok(self.put(message))
    }

    fn put(&mut self, mut message: Message) -> Sequence {
        self.last += 1;
        let sequence = Sequence(self.last);
        message.sequence = sequence;
        self.log.insert(sequence, Arc::new(message));
        self.ledger.accept(1);
        sequence
    }

    /// The sequence after the highest one given.
    pub(super) fn end(&self) -> Sequence {
        Sequence(self.last + 1)
    }

    /// The oldest messages of the log after `after`.
    pub(super) fn after(&self, after: Sequence, limit: usize) -> Vec<Arc<Message>> {
        let later = self.log.range((Bound::Excluded(after), Bound::Unbounded));
        later.take(limit).map(|(_, message)| Arc::clone(message)).collect()
    }

    pub(super) fn settle_logged(&mut self, sequence: Sequence, outcome: Outcome) {
        if let Some(message) = self.log.remove(&sequence) {
            self.ended(&message, outcome);
        }
    }

    fn ended(&mut self, message: &Message, outcome: Outcome) {
        let end = End::of(message, outcome);
        self.ledger.end(outcome, 1);
        if let Some(receipt) = end.receipt(self.now) {
            self.put(receipt);
        }
        if let Some(ends) = &self.ends {
            ends.tell(&[end]);
        }
    }

    pub(super) fn alive(&self, id: SubscriptionRef) -> bool {
        self.subscriptions.get(&(id.user_agent, id.channel)).is_some_and(|there| there.id == id)
    }

    /// All of [`pushgrid_store::Mailbox::store`], or nothing.
    pub(super) fn store(&mut self, messages: &[Arc<Message>]) -> Result<Vec<Stored>, StoreError> {
        self.check_open()?;
        if messages.iter().any(|it| it.sequence.0 == 0 || it.sequence.0 > self.last) {
            return Err(StoreError::new(ErrorKind::Corrupt, "a message to store was never in the log"));
        }
        Ok(messages.iter().map(|message| self.store_one(message)).collect())
    }

    fn store_one(&mut self, message: &Arc<Message>) -> Stored {
        let Ok(Decision { answer, change }) = judge(message, self);
        match change {
            Some(Change::Keep { replaces }) => {
                if let Some(older) = replaces {
                    self.end_stored(older, Cause::Replaced);
                }
                if let Some(message) = self.log.remove(&message.sequence) {
                    self.stored.insert((message.to.user_agent, message.sequence), message);
                }
            }
            Some(Change::End(outcome)) => self.settle_logged(message.sequence, outcome),
            // A message is in the log or in the mailbox, and each is one of its own.
            Some(Change::Moved | Change::EndRepeat) | None => {}
        }
        answer
    }

    /// The stored messages of a user agent, in the order of the sequences.
    fn of(&self, user_agent: UserAgentId) -> impl Iterator<Item = &Arc<Message>> {
        let all = (user_agent, Sequence(0))..=(user_agent, Sequence(u64::MAX));
        self.stored.range(all).map(|(_, message)| message)
    }

    fn end_stored(&mut self, key: (UserAgentId, Sequence), cause: Cause) {
        if let Some(message) = self.stored.remove(&key) {
            self.ended(&message, cause.outcome());
        }
    }

    /// Ends all stored messages with these keys, and says how many there were.
    fn end_all(&mut self, keys: Vec<(UserAgentId, Sequence)>, cause: Cause) -> usize {
        let ended = keys.len();
        for key in keys {
            self.end_stored(key, cause);
        }
        ended
    }

    pub(super) fn find(&self, user_agent: UserAgentId, id: MessageId) -> Option<Message> {
        self.of(user_agent).find(|message| message.id == id).map(|message| Message::clone(message))
    }

    pub(super) fn page(
        &self,
        user_agent: UserAgentId,
        start: &PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Page {
        super::page(|| self.of(user_agent), start, now, limit)
    }

    pub(super) fn settle_stored(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) -> bool {
        let keys = self.of(user_agent).filter(|it| it.id == id).map(|it| (user_agent, it.sequence)).collect();
        self.end_all(keys, Cause::Reported(outcome)) > 0
    }

    /// Ends the stored messages of a channel, of any incarnation.
    pub(super) fn unsubscribe(&mut self, user_agent: UserAgentId, channel: ChannelId) {
        let of_channel = self.of(user_agent).filter(|it| it.to.channel == channel);
        let keys = of_channel.map(|it| (user_agent, it.sequence)).collect();
        self.end_all(keys, Cause::Unsubscribed);
    }

    pub(super) fn expire(&mut self, now: Timestamp, limit: usize) -> usize {
        let expired = self.stored.iter().filter(|(_, it)| it.is_expired(now));
        let keys = expired.map(|(key, _)| *key).take(limit).collect();
        self.end_all(keys, Cause::Expired)
    }

    pub(super) fn usage(&self, user_agent: UserAgentId) -> Usage {
        self.of(user_agent).fold(Usage::default(), |sum, message| {
            let octets = u64::try_from(message.content.body.len()).expect("a length fits 64 bits");
            Usage { messages: sum.messages + 1, octets: sum.octets + octets }
        })
    }
}

/// The maps, asked about one message.
impl Facts for State {
    type Stored = (UserAgentId, Sequence);
    type Error = Infallible;

    fn place(&mut self, message: &Message) -> Result<Place, Infallible> {
        let is_stored = self.stored.contains_key(&(message.to.user_agent, message.sequence));
        let in_mailbox = is_stored.then_some(message.sequence);
        Ok(Place { in_log: self.log.contains_key(&message.sequence), in_mailbox })
    }

    fn is_alive(&mut self, subscription: SubscriptionRef) -> Result<bool, Infallible> {
        Ok(self.alive(subscription))
    }

    fn in_topic(
        &mut self,
        subscription: SubscriptionRef,
        topic: &ReplaceKey,
    ) -> Result<Option<(Sequence, Self::Stored)>, Infallible> {
        let mut waiting = self.of(subscription.user_agent);
        let older = waiting.find(|it| it.to == subscription && it.topic.as_ref() == Some(topic));
        Ok(older.map(|older| (older.sequence, (subscription.user_agent, older.sequence))))
    }
}
