//! A partition that is driven at random: by one owner after the other, with those that were overtaken running on, and
//! with everything failing that can.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::{End, EventLog, Mailbox, PageLimit, PageStart, StoreError, Subscription, Subscriptions};
use pushgrid_store_model::memory::{MemoryChangelog, MemoryPartitionLog, MemoryView};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Partition, Position, Restriction, Sequence,
    SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::chance::Chance;
use super::slow::{Slow, deaf};
use super::truth::{ReadResult, Truth, outcome_of};
use crate::note::Note;
use crate::{Deps, Health, PartitionGauges, PartitionStore, SpareClaim, TakenOver, Tuning, take_over};

pub(super) const PARTITION: Partition = Partition(5);
const ALL: PageLimit = PageLimit { messages: 1000, octets: 1 << 20 };
const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const USER_AGENTS: u64 = 3;
const CHANNELS: u64 = 2;
const MOMENT: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct World {
    pub(super) parts: Parts,
    pub(super) owner: Life,
    /// Fenced owners that do not know it yet.
    pub(super) zombies: Vec<Life>,
    pub(super) now: Timestamp,
    pub(super) calls: JoinSet<()>,
    /// Subscription of each channel, where certain.
    subscriptions: HashMap<(UserAgentId, ChannelId), Option<Subscription>>,
    lives: Vec<SubscriptionRef>,
    labels: u64,
    /// Position before which ends may be forgotten.
    ends: Position,
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) owned: TakenOver,
    /// Messages handed out, neither ended nor stored.
    hand: Vec<Arc<Message>>,
    /// Messages ended in the log by this life.
    settled: Vec<Sequence>,
}

/// Small bounds, so that calls and notes go in pieces.
fn tuning(note: usize) -> Tuning {
    Tuning { batch: 5, cycle: 9, prefetch: 6, window: 40, note, ..Tuning::default() }
}

/// Parts shared by all lives of a world.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) chance: Arc<Chance>,
    pub(super) log: MemoryPartitionLog,
    pub(super) changelog: MemoryChangelog,
    pub(super) view: MemoryView,
    pub(super) asked: Arc<Mutex<ReadResult>>,
    /// Octets of a note for acknowledged ranges.
    note: usize,
}

impl Parts {
    fn asked(&self) -> MutexGuard<'_, ReadResult> {
        self.asked.lock()
    }

    /// Records ends settled before a commit as never to be redelivered: all of them, or those before the committed
    /// sequence if the note has no room.
    fn committed(&self, settled: &[Sequence]) {
        let next = self.log.committed().expect("there was a commit").next;
        let has_room = self.note == Tuning::default().note;
        let mut asked = self.asked();
        for sequence in settled.iter().filter(|sequence| has_room || **sequence < next) {
            asked.left.insert(*sequence);
            asked.gone.insert(*sequence);
        }
    }

    async fn own(&self) -> Life {
        let deps = Deps {
            share: deaf(self.log.share()),
            changelog: Arc::new(Slow { inner: self.changelog.clone(), chance: self.chance.clone() }),
            view: Arc::new(Slow { inner: self.view.clone(), chance: self.chance.clone() }),
            ends: None,
            receipts: None,
            health: watch::channel(Health::default()).0,
            spare: SpareClaim::default(),
            gauges: PartitionGauges::default(),
            tuning: tuning(self.note),
        };
        let owned = take_over(deps).await.expect("nobody else takes over");
        Life { owned, hand: Vec::new(), settled: Vec::new() }
    }
}

fn octets<const N: usize>(label: u64) -> [u8; N] {
    let mut octets = [0; N];
    octets[..8].copy_from_slice(&label.to_be_bytes());
    octets
}

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let chance = Arc::new(Chance::new(seed));
        let parts = Parts {
            note: if chance.one_in(2) { 4 } else { Tuning::default().note },
            chance,
            log: MemoryPartitionLog::new(PARTITION),
            changelog: MemoryChangelog::new(),
            view: MemoryView::new(),
            asked: Arc::default(),
        };
        let owner = parts.own().await;
        Self {
            parts,
            owner,
            zombies: Vec::new(),
            now: START,
            calls: JoinSet::new(),
            subscriptions: HashMap::new(),
            lives: Vec::new(),
            labels: 0,
            ends: Position(0),
        }
    }

    fn label(&mut self) -> u64 {
        self.labels += 1;
        self.labels
    }

    fn any_channel(&self) -> (UserAgentId, ChannelId) {
        let (of, on) = (self.parts.chance.below(USER_AGENTS), self.parts.chance.below(CHANNELS));
        (UserAgentId::from_octets(octets(of)), ChannelId::from_octets(octets(on)))
    }

    fn any_id(&self) -> Option<(UserAgentId, MessageId)> {
        let asked = self.parts.asked();
        if asked.accepted.is_empty() {
            return None;
        }
        let recent = asked.accepted.len().min(12);
        let message = asked.accepted.values().rev().nth(self.parts.chance.index(recent))?;
        Some((message.to.user_agent, message.id))
    }

    /// Starts another owner. The previous one is killed, or runs on.
    pub(super) async fn take_over(&mut self, runs_on: bool) {
        let next = self.parts.own().await;
        let last = std::mem::replace(&mut self.owner, next);
        if runs_on {
            self.zombies.push(last);
        } else {
            drop(last);
        }
    }

    pub(super) async fn restart(&mut self) {
        self.owner.owned.store.abandon().await;
        self.take_over(false).await;
    }

    pub(super) async fn close(&mut self) {
        if self.owner.owned.store.close().await.is_ok() {
            self.parts.committed(&self.owner.settled);
        }
        self.take_over(false).await;
    }

    pub(super) async fn accept(&mut self) {
        if self.parts.chance.one_in(20) {
            self.parts.log.skip(self.parts.chance.below(5));
        }
        let (user_agent, channel) = self.any_channel();
        let of_channel: Vec<_> =
            self.lives.iter().filter(|it| (it.user_agent, it.channel) == (user_agent, channel)).collect();
        let incarnation = match of_channel.len() {
            0 => Incarnation::from_octets(octets(u64::MAX)),
            _ if self.parts.chance.one_in(5) => {
                of_channel[self.parts.chance.index(of_channel.len())].incarnation
            }
            last => of_channel[last - 1].incarnation,
        };
        let ttl = Ttl::from_secs(5 + u32::try_from(self.parts.chance.below(60)).unwrap());
        let topic = match self.parts.chance.below(3) {
            0 => None,
            1 => Some("a".parse().unwrap()),
            _ => Some("b".parse().unwrap()),
        };
        let message = Message {
            id: MessageId::from_octets(octets(self.label())),
            to: SubscriptionRef { user_agent, channel, incarnation },
            sequence: Sequence(0),
            accepted_at: self.now,
            ttl,
            expires_at: Message::expiry(self.now, ttl),
            urgency: Urgency::Normal,
            topic,
            receipt: None,
            content: Content::default(),
        };
        if let Ok(sequence) = self.parts.log.append(message.clone()).await {
            self.parts.asked().accepted.insert(sequence, Arc::new(Message { sequence, ..message }));
        }
    }

    /// Takes the messages that the log hands out within a moment. True if there were any.
    pub(super) async fn consume(&mut self, limit: usize) -> bool {
        let left = self.parts.asked().left.clone();
        let Ok(batch) = timeout(MOMENT, self.owner.owned.consumer.next(limit)).await else {
            return false;
        };
        let batch = batch.expect("the log can be read");
        for message in &batch {
            assert!(!left.contains(&message.sequence), "{:?} had left the log", message.sequence);
        }
        let some = !batch.is_empty();
        self.owner.hand.extend(batch);
        some
    }

    pub(super) fn settle_logged(&mut self) {
        while !self.owner.hand.is_empty() && !self.parts.chance.one_in(3) {
            let message = self.owner.hand.swap_remove(self.parts.chance.index(self.owner.hand.len()));
            self.parts.asked().settled.insert(message.sequence);
            self.owner.settled.push(message.sequence);
            self.owner.owned.consumer.settle(vec![End::of(&message, outcome_of(message.sequence))]);
        }
    }

    pub(super) fn store_some(&mut self) {
        let mut batch = Vec::new();
        while !self.owner.hand.is_empty() && !self.parts.chance.one_in(4) {
            batch.push(self.owner.hand.swap_remove(self.parts.chance.index(self.owner.hand.len())));
        }
        self.store(batch);
    }

    pub(super) fn store_all(&mut self) {
        let batch = std::mem::take(&mut self.owner.hand);
        self.store(batch);
    }

    fn store(&mut self, batch: Vec<Arc<Message>>) {
        let (store, asked) = (self.owner.owned.store.clone(), self.parts.asked.clone());
        self.calls.spawn(async move {
            // As the router does: again, for as long as that may help.
            while let Err(error) = store.store(batch.clone()).await.map(|answers| {
                asked.lock().stored(&batch, &answers);
            }) {
                if !error.is_retryable() {
                    return;
                }
                tokio::time::sleep(MOMENT).await;
            }
        });
    }

    /// Store of any owner, fenced ones included.
    fn any_store(&self) -> Arc<PartitionStore> {
        let among = self.zombies.len() + 3;
        let life = self.zombies.get(self.parts.chance.index(among)).unwrap_or(&self.owner);
        life.owned.store.clone()
    }

    pub(super) fn settle(&mut self) {
        let Some((of, id)) = self.any_id() else { return };
        let asked = self.parts.asked.clone();
        let store = self.any_store();
        let sequence = self.parts.asked().accepted.values().find(|it| it.id == id).unwrap().sequence;
        self.parts.asked().ended.insert(id);
        self.calls.spawn(async move {
            if let Ok(answers) = store.settle(of, vec![(id, outcome_of(sequence))]).await
                && answers == [true]
            {
                asked.lock().was_there(id);
            }
        });
    }

    pub(super) fn expire(&mut self) {
        self.now = self.now.plus(Duration::from_secs(self.parts.chance.below(4)));
        let now = self.now;
        self.parts.asked().expired_at = now;
        let (store, limit) = (self.any_store(), 1 + self.parts.chance.index(5));
        self.calls.spawn(async move {
            let _ = store.expire(now, limit).await;
        });
    }

    /// Asks until there is an answer, which takes as long as the faults.
    async fn find(&self, of: UserAgentId, on: ChannelId) -> Option<Subscription> {
        loop {
            match self.owner.owned.store.find(of, on).await {
                Ok(found) => return found,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Changes a subscription, and checks the one that it replaces.
    pub(super) async fn subscribe(&mut self) {
        let (of, on) = self.any_channel();
        let found = self.find(of, on).await;
        if let Some(known) = self.subscriptions.get(&(of, on)) {
            assert_eq!(found, *known, "what was answered holds");
        }
        let answer: Result<(), StoreError> = if self.parts.chance.one_in(3) {
            self.parts.asked().unsubscribed.insert((of, on));
            let removed = self.owner.owned.store.remove(of, on).await;
            removed.map(|was_there| {
                assert_eq!(was_there, found.is_some());
                self.subscriptions.insert((of, on), None);
            })
        } else {
            let new = self.new_subscription(of, on);
            let put = self.owner.owned.store.put(found.map(|it| it.id), new.clone()).await;
            put.map(|there| {
                assert_eq!(there.as_ref(), Some(&new));
                self.parts.asked().subscribed(&new);
                self.subscriptions.insert((of, on), there);
            })
        };
        if answer.is_err() {
            self.subscriptions.remove(&(of, on));
        }
    }

    fn new_subscription(&mut self, user_agent: UserAgentId, channel: ChannelId) -> Subscription {
        let incarnation = Incarnation::from_octets(octets(self.label()));
        let id = SubscriptionRef { user_agent, channel, incarnation };
        self.lives.push(id);
        Subscription { id, restriction: Restriction::Open, seen_at: self.now, is_noted: true, webhook: None }
    }

    /// Changes a subscription as a fenced owner, which must not be told that it succeeded.
    pub(super) fn subscribe_late(&mut self) {
        let Some(zombie) = self.zombies.last() else { return };
        let store = zombie.owned.store.clone();
        let (of, on) = self.any_channel();
        let known = self.subscriptions.get(&(of, on)).cloned().flatten();
        let new = self.new_subscription(of, on);
        let asked = self.parts.asked.clone();
        let removes = self.parts.chance.one_in(2);
        self.calls.spawn(async move {
            if removes {
                assert!(!matches!(store.remove(of, on).await, Ok(true)), "a fenced owner removed something");
            } else if let Ok(there) = store.put(known.map(|it| it.id), new.clone()).await
                && there == Some(new.clone())
            {
                asked.lock().subscribed(&new);
            }
        });
    }

    pub(super) fn page(&mut self) {
        let (of, _) = self.any_channel();
        let (store, asked, now) = (self.owner.owned.store.clone(), self.parts.asked.clone(), self.now);
        self.calls.spawn(async move {
            let gone = asked.lock().gone.clone();
            if let Ok(page) = store.page(of, PageStart::FIRST, now, ALL).await {
                let page = page.messages;
                let back: Vec<_> = page.iter().filter(|it| gone.contains(&it.sequence)).collect();
                assert!(back.is_empty(), "{back:?} had ended");
            }
        });
    }

    /// Flushes the ends in the log. None of them is ever redelivered after that, whatever room the note has.
    pub(super) fn flush_ends(&mut self) {
        let (flushing, asked) = (self.owner.owned.consumer.flush(), self.parts.asked.clone());
        let settled = self.owner.settled.clone();
        self.calls.spawn(async move {
            if flushing.await.is_ok() {
                let mut asked = asked.lock();
                asked.left.extend(&settled);
                asked.gone.extend(&settled);
            }
        });
    }

    pub(super) fn flush(&mut self) {
        let (store, parts) = (self.owner.owned.store.clone(), self.parts.clone());
        let settled = self.owner.settled.clone();
        self.calls.spawn(async move {
            if store.flush().await.is_ok() {
                parts.committed(&settled);
            }
        });
    }

    /// Compacts the changelog up to the last commit. Ends are kept for as long as the view may fall back behind them,
    /// or a later note may have no room for them.
    pub(super) fn compact(&mut self) {
        let Some(commit) = self.parts.log.committed() else { return };
        let note = Note::decode(&commit.note, commit.next).unwrap();
        if note.ranges.is_empty() && note.collect_from == note.position {
            self.ends = note.position;
        }
        let ends = self.ends.min(self.parts.view.save(PARTITION));
        self.parts.changelog.compact(PARTITION, note.position, ends);
    }

    /// Ends all faults and calls; then the next owner must find everything right.
    pub(super) async fn check(&mut self) {
        self.parts.changelog.set_down(false);
        self.parts.view.set_down(false);
        self.parts.log.set_down(false);
        tokio::time::sleep(Duration::from_secs(30)).await;
        while let Some(call) = self.calls.join_next().await {
            call.expect("no call panics");
        }
        self.zombies.clear();
        match self.parts.chance.below(3) {
            0 => self.close().await,
            1 => self.restart().await,
            _ => {}
        }
        self.drain().await;
        self.assert_true().await;
        self.compact();
        self.parts.view.lose_everything();
        self.restart().await;
        self.assert_true().await;
    }

    /// Stores all messages of the log.
    async fn drain(&mut self) {
        while self.consume(50).await || !self.owner.hand.is_empty() {
            self.store_all();
            while let Some(call) = self.calls.join_next().await {
                call.expect("no call panics");
            }
        }
        let (store, log) = (&self.owner.owned.store, &self.parts.log);
        assert!(
            store.read_to().0 > self.parts.asked().accepted.last_key_value().map_or(0, |(last, _)| last.0),
            "all of the log was read, to {:?}",
            log.last()
        );
        store.flush().await.unwrap();
        self.parts.committed(&self.owner.settled);
    }

    async fn assert_true(&self) {
        let truth = Truth::of(&self.parts.changelog.history(PARTITION));
        let account = truth.check(&self.parts.asked());
        let ledger = self.owner.owned.ledger.snapshot();
        assert!(ledger.adds_up(), "the account adds up: {ledger:?}");
        assert_eq!(ledger, account, "every outcome is counted once");
        let store = &self.owner.owned.store;
        assert_eq!(store.figures().waiting, account.pending);
        for of in 0..USER_AGENTS {
            let of = UserAgentId::from_octets(octets(of));
            let page = store.page(of, PageStart::FIRST, Timestamp::default(), ALL).await.unwrap().messages;
            let page: Vec<_> = page.into_iter().map(Arc::new).collect();
            let expected: Vec<_> =
                truth.waiting.values().filter(|it| it.to.user_agent == of).cloned().collect();
            assert_eq!(page, expected, "what waits is what the changelog says");
            let back = page.iter().any(|it| self.parts.asked().gone.contains(&it.sequence));
            assert!(!back, "what has ended does not wait");
            for on in 0..CHANNELS {
                let on = ChannelId::from_octets(octets(on));
                let found = store.find(of, on).await.unwrap();
                assert_eq!(found, truth.subscriptions.get(&(of, on)).cloned());
                if let Some(known) = self.subscriptions.get(&(of, on)) {
                    assert_eq!(found, *known, "what was answered holds");
                }
            }
        }
        assert!(self.parts.view.is_complete(PARTITION));
    }
}
