//! One partition over the models, without chance.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{
    Commit, EndFeed, ErrorKind, EventLog, Mailbox, Offsets, PageLimit, PageStart, Share, StoreError, Stored,
    Subscription, Subscriptions,
};
use pushgrid_store_model::memory::{MemoryChangelog, MemoryPartitionLog, MemoryView};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Partition, Restriction, Sequence, SubscriptionRef,
    Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::sync::watch;

use crate::{Deps, Health, PartitionGauges, SpareClaim, TakenOver, Tuning, take_over};

pub(super) const PARTITION: Partition = Partition(1);
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(super) const ALL: PageLimit = PageLimit { messages: 1000, octets: 1 << 20 };
pub(super) const TO: SubscriptionRef = SubscriptionRef {
    user_agent: UserAgentId::from_octets([1; 16]),
    channel: ChannelId::from_octets([2; 16]),
    incarnation: Incarnation::from_octets([3; 12]),
};
pub(super) const SUBSCRIPTION: Subscription =
    Subscription { id: TO, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook: None };

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) log: MemoryPartitionLog,
    pub(super) changelog: MemoryChangelog,
    pub(super) view: MemoryView,
    pub(super) spare: SpareClaim,
    pub(super) gauges: PartitionGauges,
    pub(super) ends: Option<EndFeed>,
    pub(super) tuning: Tuning,
}

/// Offsets whose commit is unreadable.
#[derive(Debug)]
struct SpoiltOffsets;

#[async_trait]
impl Offsets for SpoiltOffsets {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        Err(StoreError::plain(ErrorKind::Corrupt))
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        Err(StoreError::plain(ErrorKind::Corrupt))
    }

    async fn commit(&self, _: Commit) -> Result<(), StoreError> {
        Err(StoreError::plain(ErrorKind::Corrupt))
    }
}

pub(super) fn id(label: u8) -> MessageId {
    MessageId::from_octets([label; 16])
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            log: MemoryPartitionLog::new(PARTITION),
            changelog: MemoryChangelog::new(),
            view: MemoryView::new(),
            spare: SpareClaim::default(),
            gauges: PartitionGauges::default(),
            ends: None,
            tuning: Tuning::default(),
        }
    }

    pub(super) fn deps(&self) -> (Deps, watch::Receiver<Health>) {
        let (health, seen) = watch::channel(Health::default());
        let deps = Deps {
            share: self.log.share(),
            changelog: Arc::new(self.changelog.clone()),
            view: Arc::new(self.view.clone()),
            ends: self.ends.clone(),
            receipts: None,
            health,
            spare: self.spare.clone(),
            gauges: self.gauges.clone(),
            tuning: self.tuning,
        };
        (deps, seen)
    }

    /// Dependencies over a log whose commits are unreadable.
    pub(super) fn spoilt_deps(&self) -> (Deps, watch::Receiver<Health>) {
        let (deps, seen) = self.deps();
        (Deps { share: Share { offsets: Arc::new(SpoiltOffsets), ..deps.share }, ..deps }, seen)
    }

    pub(super) async fn open(&self) -> TakenOver {
        take_over(self.deps().0).await.unwrap()
    }

    /// Owner with one subscription.
    pub(super) async fn subscribed(&self) -> TakenOver {
        let owned = self.open().await;
        assert_eq!(owned.store.put(None, SUBSCRIPTION).await.unwrap(), Some(SUBSCRIPTION));
        owned
    }

    pub(super) async fn accept(&self, label: u8) -> Arc<Message> {
        let ttl = Ttl::from_secs(60);
        let message = Message {
            id: id(label),
            to: TO,
            sequence: Sequence(0),
            accepted_at: NOW,
            ttl,
            expires_at: Message::expiry(NOW, ttl),
            urgency: Urgency::Normal,
            topic: None,
            receipt: None,
            content: Content::default(),
        };
        let sequence = self.log.append(message.clone()).await.unwrap();
        Arc::new(Message { sequence, ..message })
    }

    /// Accepts a message and moves it to the mailbox.
    pub(super) async fn keep(&self, owned: &mut TakenOver, label: u8) -> Arc<Message> {
        let accepted = self.accept(label).await;
        assert_eq!(owned.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
        assert_eq!(owned.store.store(vec![accepted.clone()]).await.unwrap(), [Stored::Kept]);
        accepted
    }
}

pub(super) async fn waiting(owned: &TakenOver) -> Result<Vec<Sequence>, ErrorKind> {
    let page = owned
        .store
        .page(TO.user_agent, PageStart::FIRST, NOW, ALL)
        .await
        .map_err(|error| error.kind)?
        .messages;
    Ok(page.iter().map(|message| message.sequence).collect())
}
