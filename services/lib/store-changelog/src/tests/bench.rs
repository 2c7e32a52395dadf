//! One partition over the models, without chance.

use std::sync::Arc;

use pushgrid_store::memory::{MemoryChangelog, MemoryPartitionLog, MemoryView};
use pushgrid_store::{ErrorKind, EventLog, Mailbox, PageLimit, Stored, Subscription, Subscriptions};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Partition, Sequence, SubscriptionRef, Timestamp,
    Ttl, Urgency, UserAgentId,
};
use tokio::sync::watch;

use crate::{Deps, Estate, Health, Tuning, take_over};

pub(super) const PARTITION: Partition = Partition(1);
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(super) const ALL: PageLimit = PageLimit { messages: 1000, octets: 1 << 20 };
pub(super) const TO: SubscriptionRef = SubscriptionRef {
    user_agent: UserAgentId::from_octets([1; 16]),
    channel: ChannelId::from_octets([2; 16]),
    incarnation: Incarnation::from_octets([3; 12]),
};
pub(super) const SUBSCRIPTION: Subscription = Subscription { id: TO, vapid: None, created_at: NOW };

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) log: MemoryPartitionLog,
    pub(super) changelog: MemoryChangelog,
    pub(super) view: MemoryView,
    pub(super) tuning: Tuning,
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
            tuning: Tuning::default(),
        }
    }

    pub(super) fn deps(&self) -> (Deps, watch::Receiver<Health>) {
        let (health, seen) = watch::channel(Health::default());
        let deps = Deps {
            share: self.log.share(),
            changelog: Arc::new(self.changelog.clone()),
            view: Arc::new(self.view.clone()),
            health,
            tuning: self.tuning,
        };
        (deps, seen)
    }

    pub(super) async fn open(&self) -> Estate {
        take_over(self.deps().0).await.unwrap()
    }

    /// An owner whose subscription is made.
    pub(super) async fn subscribed(&self) -> Estate {
        let estate = self.open().await;
        assert_eq!(estate.store.put(None, SUBSCRIPTION).await.unwrap(), Some(SUBSCRIPTION));
        estate
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
            content: Content::default(),
        };
        let sequence = self.log.append(message.clone()).await.unwrap();
        Arc::new(Message { sequence, ..message })
    }

    /// Accepts a message and moves it to the mailbox.
    pub(super) async fn keep(&self, estate: &mut Estate, label: u8) -> Arc<Message> {
        let accepted = self.accept(label).await;
        assert_eq!(estate.consumer.next(1).await.unwrap(), std::slice::from_ref(&accepted));
        assert_eq!(estate.store.store(vec![accepted.clone()]).await.unwrap(), [Stored::Kept]);
        accepted
    }
}

pub(super) async fn waiting(estate: &Estate) -> Result<Vec<Sequence>, ErrorKind> {
    let page = estate.store.page(TO.user_agent, Sequence(0), NOW, ALL).await.map_err(|error| error.kind)?;
    Ok(page.iter().map(|message| message.sequence).collect())
}
