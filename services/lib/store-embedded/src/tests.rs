//! The embedded store over real files: helpers shared by the tests of this crate.

mod backup;
mod batching;
mod cache;
mod conformance;
mod feed;
mod full;
mod log_damage;
mod open;
mod page_damage;
mod plans;
mod receipts;
mod reopen;
mod seals;
mod traces;

use std::sync::Arc;

use bytes::Bytes;
use pushgrid_store::{EventLog, Mailbox, PageLimit, PageStart, Subscription, Subscriptions};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Restriction, Sequence, SubscriptionRef, Timestamp,
    Ttl, Urgency, UserAgentId,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{Embedded, EmbeddedConfig, directory};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const ALL: PageLimit = PageLimit { messages: 100_000, octets: 1 << 30 };

/// Store in a directory of its own.
struct Home {
    directory: TempDir,
    store: Embedded,
}

impl Home {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl FnOnce(EmbeddedConfig) -> EmbeddedConfig) -> Self {
        let directory = TempDir::new().unwrap();
        let config = change(EmbeddedConfig::at(directory.path()));
        Self { store: Embedded::open(&config).unwrap(), directory }
    }

    /// Opens another connection to the same file.
    fn connection(&self) -> Connection {
        Connection::open(self.directory.path().join(directory::DATABASE_FILE)).unwrap()
    }

    async fn append(&self, message: Message) -> Arc<Message> {
        let sequence = self.store.append(message.clone()).await.unwrap();
        Arc::new(Message { sequence, ..message })
    }

    async fn subscribe(&self, id: SubscriptionRef) {
        let new =
            Subscription { id, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook: None };
        assert_eq!(self.store.put(None, new.clone()).await.unwrap(), Some(new));
    }

    async fn waiting(&self, user_agent: UserAgentId) -> Vec<Message> {
        self.store.page(user_agent, PageStart::FIRST, NOW, ALL).await.unwrap().messages
    }
}

fn subscription(label: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: UserAgentId::from_octets([label; 16]),
        channel: ChannelId::from_octets([label; 16]),
        incarnation: Incarnation::from_octets([label; 12]),
    }
}

fn message(to: SubscriptionRef, label: u64) -> Message {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&label.to_be_bytes());
    let ttl = Ttl::from_secs(3600);
    Message {
        id: MessageId::from_octets(id),
        to,
        sequence: Sequence(0),
        accepted_at: NOW,
        ttl,
        expires_at: Message::expiry(NOW, ttl),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: Bytes::from(vec![7; 1024]), ..Content::default() },
    }
}
