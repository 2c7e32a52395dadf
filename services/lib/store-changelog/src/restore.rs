//! Restoration of user agents set aside: the sum of the changelog for each, told to the view.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use pushgrid_mailbox::{self as mailbox, Cause, Decision, Facts, Place, REPEAT, judge};
use pushgrid_store::{
    Change, Changelog, ChangelogRecord, Entry, ReadBarrier, StoreError, StoredMessage, Subscription,
    ViewError,
};
use pushgrid_types::cast::fitting;
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Outcome, Partition, Position, ReplaceKey, Sequence,
    SubscriptionRef, UserAgentId,
};

use crate::context::PartitionContext;
use crate::reassert::Stale;

/// State of some user agents by the changelog, up to a position.
#[derive(Debug)]
pub(crate) struct Collected<M = Arc<Message>> {
    pub(crate) at: Position,
    pub(crate) of: BTreeMap<UserAgentId, Kept<M>>,
    /// Records of these user agents that do not count: any change possibly replaced by one is to be written
    /// again.
    pub(crate) stale: Stale,
    highest: LeaderEpoch,
}

/// State of one user agent by the records that count, with `M` of each message.
#[derive(Debug)]
pub(crate) struct Kept<M = Arc<Message>> {
    subscriptions: BTreeMap<ChannelId, Subscription>,
    messages: BTreeMap<MessageId, Waiting<M>>,
    /// Repeats: messages of the log twice, the second stored while the first waited, when nobody could know
    /// of the first.
    repeats: BTreeMap<(MessageId, Sequence), SubscriptionRef>,
}

/// A waiting message.
#[derive(Debug)]
struct Waiting<M> {
    message: M,
    sequence: Sequence,
    since: LeaderEpoch,
}

/// A message counted, and not kept.
#[derive(Debug)]
struct Counted;

impl From<Arc<Message>> for Counted {
    fn from(_: Arc<Message>) -> Self {
        Self
    }
}

impl<M: From<Arc<Message>>> Collected<M> {
    pub(crate) fn new(user_agents: impl IntoIterator<Item = UserAgentId>) -> Self {
        let of = user_agents.into_iter().map(|user_agent| (user_agent, Kept::default())).collect();
        Self { at: Position(0), of, stale: Stale::default(), highest: LeaderEpoch(0) }
    }

    /// Reads on from the position reached, to `to` or to the end. An error leaves the position reached.
    pub(crate) async fn read(
        &mut self,
        changelog: &dyn Changelog,
        partition: Partition,
        to: Position,
        batch: usize,
    ) -> Result<(), StoreError> {
        let mut reading = changelog.read(partition, self.at).await?;
        let end = reading.end().min(to);
        loop {
            let records = reading.next(batch).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                if record.position() >= end {
                    break;
                }
                self.at = Position(record.position().0 + 1);
                if let ChangelogRecord::Entry(entry) = record {
                    self.take(entry);
                }
            }
            if self.at >= end {
                break;
            }
        }
        self.at = self.at.max(end);
        Ok(())
    }

    /// Takes an entry in. An entry counts if no claim of a higher leader epoch stands before.
    fn take(&mut self, entry: Entry) {
        let Some(user_agent) = entry.change.user_agent() else {
            self.highest = self.highest.max(entry.by);
            return;
        };
        let Some(kept) = self.of.get_mut(&user_agent) else { return };
        if entry.by >= self.highest {
            self.stale.remove(&entry.change);
            kept.take(entry.change);
        } else {
            self.stale.add(&entry.change);
        }
    }

    /// Number of messages waiting for the user agents.
    pub(crate) fn waiting(&self) -> usize {
        self.of.values().map(|kept| kept.messages.len() + kept.repeats.len()).sum()
    }
}

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self { subscriptions: BTreeMap::new(), messages: BTreeMap::new(), repeats: BTreeMap::new() }
    }
}

impl<M: From<Arc<Message>>> Kept<M> {
    fn take(&mut self, change: Change) {
        match change {
            Change::Claimed => {}
            Change::Subscribed(made) => _ = self.subscriptions.insert(made.id.channel, made),
            Change::Unsubscribed(id) => {
                if self.subscriptions.get(&id.channel).is_some_and(|there| there.id == id) {
                    self.subscriptions.remove(&id.channel);
                }
            }
            Change::Stored { message, since } => {
                let (id, to, sequence) = (message.id, message.to, message.sequence);
                match self.messages.get_mut(&id) {
                    None => {
                        self.messages.insert(id, Waiting { message: M::from(message), sequence, since });
                    }
                    Some(there) => {
                        there.since = there.since.max(since);
                        if there.sequence != sequence {
                            self.repeats.insert((id, sequence), to);
                        }
                    }
                }
            }
            Change::Ended { id, sequence, since, .. } => {
                self.repeats.remove(&(id, sequence));
                if self.messages.get(&id).is_some_and(|there| there.since <= since) {
                    self.messages.remove(&id);
                }
            }
        }
    }
}

impl Kept {
    /// The changes that make up the whole state.
    fn changes(&self) -> Vec<Change> {
        let subscriptions = self.subscriptions.values().cloned().map(Change::Subscribed);
        let messages = self.messages.values();
        let messages =
            messages.map(|it| Change::Stored { message: Arc::clone(&it.message), since: it.since });
        subscriptions.chain(messages).collect()
    }

    /// The ends of messages that the writer would not have stored with knowledge of the waiting messages and
    /// the live subscriptions, unavailable while the user agent was set aside. `has_newer` tells of
    /// subscriptions alive by the word of a newer release.
    pub(crate) fn judge(
        &self,
        has_newer: impl Fn(&SubscriptionRef) -> bool,
    ) -> Vec<(StoredMessage, Outcome)> {
        let mut ends = Vec::new();
        let mut facts =
            AsIfArriving { subscriptions: &self.subscriptions, has_newer, topics: HashMap::new() };
        let mut oldest_first: Vec<_> = self.messages.values().collect();
        oldest_first.sort_unstable_by_key(|it| it.sequence);
        for Waiting { message, since, .. } in oldest_first {
            let stored = StoredMessage::of(message, *since);
            let Ok(Decision { change, .. }) = judge(message, &mut facts);
            match change {
                Some(mailbox::Change::Keep { replaces }) => {
                    ends.extend(replaces.map(|older| (older, Cause::Replaced.outcome())));
                    facts.keep(message, stored);
                }
                Some(mailbox::Change::End(outcome)) => ends.push((stored, outcome)),
                Some(mailbox::Change::Moved | mailbox::Change::EndRepeat) | None => {}
            }
        }
        // By no right: one that has the same id goes on waiting.
        let since = LeaderEpoch(0);
        let repeats = self.repeats.iter();
        let repeats =
            repeats.map(|(&(id, sequence), &to)| StoredMessage { id, to, sequence, since, receipt: None });
        ends.extend(repeats.map(|repeat| (repeat, REPEAT)));
        ends
    }
}

/// Facts about waiting messages, as if each came out of the log after the other.
struct AsIfArriving<'k, H> {
    subscriptions: &'k BTreeMap<ChannelId, Subscription>,
    has_newer: H,
    /// The newest so far of each topic.
    topics: HashMap<(SubscriptionRef, ReplaceKey), StoredMessage>,
}

impl<H> AsIfArriving<'_, H> {
    fn keep(&mut self, message: &Message, stored: StoredMessage) {
        if let Some(topic) = &message.topic {
            self.topics.insert((message.to, topic.clone()), stored);
        }
    }
}

impl<H: Fn(&SubscriptionRef) -> bool> Facts for AsIfArriving<'_, H> {
    type Stored = StoredMessage;
    type Error = Infallible;

    fn place(&mut self, _: &Message) -> Result<Place, Infallible> {
        Ok(Place { in_log: true, in_mailbox: None })
    }

    fn is_alive(&mut self, subscription: SubscriptionRef) -> Result<bool, Infallible> {
        let there = self.subscriptions.get(&subscription.channel);
        Ok(there.is_some_and(|there| there.id == subscription) || (self.has_newer)(&subscription))
    }

    fn in_topic(
        &mut self,
        subscription: SubscriptionRef,
        topic: &ReplaceKey,
    ) -> Result<Option<(Sequence, StoredMessage)>, Infallible> {
        let rival = self.topics.get(&(subscription, topic.clone()));
        Ok(rival.map(|stored| (stored.sequence, *stored)))
    }
}

/// Tells the view the whole state of a user agent set aside.
pub(crate) async fn tell(
    context: &PartitionContext,
    barrier: ReadBarrier,
    user_agent: UserAgentId,
    kept: &Kept,
) -> Result<(), ViewError> {
    let changes = kept.changes();
    let mut rest = &changes[..];
    loop {
        let (batch, after) = rest.split_at(context.batch(rest).min(rest.len()));
        context.view.restore(barrier, user_agent, batch, after.is_empty()).await?;
        if after.is_empty() {
            return Ok(());
        }
        rest = after;
    }
}

/// Number of messages waiting in the partition, of user agents set aside too: the latter are known to the
/// books alone, or else to the changelog, which is read from the start then.
pub(crate) async fn waiting(
    context: &PartitionContext,
    barrier: ReadBarrier,
    books: Option<u64>,
) -> Result<u64, ViewError> {
    let aside = context.view.complete(barrier).await?;
    if aside.is_empty() {
        return context.view.waiting(barrier).await;
    }
    if let Some(waiting) = books {
        return Ok(waiting);
    }
    // What a restore that was broken off has left of them would be counted twice.
    context.view.set_aside(barrier, &aside).await?;
    let waiting = context.view.waiting(barrier).await?;
    let mut collected = Collected::<Counted>::new(aside);
    collected.read(&*context.changelog, context.partition, barrier.position, context.tuning.batch).await?;
    Ok(waiting + fitting::<u64>(collected.waiting()))
}
