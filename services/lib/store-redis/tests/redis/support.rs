//! Helpers shared by the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Change, ReadBarrier, Subscription, View, ViewError};
use pushgrid_store_redis::{Config, ConnectError, Redis, RedisView};
use pushgrid_types::{
    ChannelId, Content, Incarnation, LeaderEpoch, Message, MessageId, Partition, Position, Restriction,
    Sequence, SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::time::Instant;

use crate::servers::Server;

/// Timeout of a call in the tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Builds settings from `set` and those of all tests.
pub(crate) fn config(set: &[String]) -> Config {
    let mut all = vec!["redis.timeout=1s".to_owned(), "redis.start_timeout=5s".to_owned()];
    all.extend_from_slice(set);
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &all).expect("they are settings"));
    let config = Config::read(&mut reader);
    reader.finish().expect("nothing is wrong with them");
    config
}

pub(crate) async fn try_connect(url: &str) -> Result<Redis, ConnectError> {
    Redis::connect(&config(&[format!("redis.url={url}")]), &Meter::new()).await
}

pub(crate) async fn connect(server: &Server) -> Redis {
    let url = format!("redis://127.0.0.1:{}", server.port);
    try_connect(&url).await.expect("it can be connected")
}

/// Connections to one address, each with keys of its own.
#[derive(Debug)]
pub(crate) struct Fresh {
    set: Vec<String>,
    made: AtomicU32,
}

impl Fresh {
    pub(crate) fn at(url: &str) -> Self {
        Self { set: vec![format!("redis.url={url}")], made: AtomicU32::new(0) }
    }

    pub(crate) fn with(mut self, setting: String) -> Self {
        self.set.push(setting);
        self
    }

    pub(crate) async fn make(&self) -> Redis {
        let prefix = format!("redis.prefix=test-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let set = [&self.set[..], &[prefix]].concat();
        Redis::connect(&config(&set), &Meter::new()).await.expect("it can be connected")
    }

    pub(crate) async fn view(&self) -> Arc<dyn View> {
        Arc::new(RedisView::new(self.make().await))
    }
}

pub(crate) fn user_agent(label: u8) -> UserAgentId {
    UserAgentId::from_octets([label; 16])
}

pub(crate) fn subscription(of: u8, on: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: user_agent(of),
        channel: ChannelId::from_octets([on; 16]),
        incarnation: Incarnation::from_octets([1; 12]),
    }
}

pub(crate) fn subscribed(id: SubscriptionRef) -> Change {
    Change::Subscribed(Subscription {
        id,
        restriction: Restriction::Open,
        seen_at: NOW,
        is_noted: true,
        webhook: None,
    })
}

pub(crate) fn message(to: SubscriptionRef, sequence: u64, octets: usize) -> Arc<Message> {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    Arc::new(Message {
        id: MessageId::from_octets(id),
        to,
        sequence: Sequence(sequence),
        accepted_at: NOW,
        ttl: Ttl::from_secs(3600),
        expires_at: Message::expiry(NOW, Ttl::from_secs(3600)),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: vec![9; octets].into(), ..Content::default() },
    })
}

pub(crate) const fn barrier(leader_epoch: u64, position: u64) -> ReadBarrier {
    ReadBarrier {
        partition: Partition(0),
        leader_epoch: LeaderEpoch(leader_epoch),
        position: Position(position),
    }
}

/// Applies changes to the view from `position` on, one position for each, and returns the new position.
pub(crate) async fn tell(view: &dyn View, leader_epoch: u64, position: u64, changes: &[Change]) -> u64 {
    let to = position + changes.len() as u64;
    view.apply(barrier(leader_epoch, position), changes, Position(to)).await.expect("it is taken");
    to
}

/// Position in the answer of a view behind the barrier.
pub(crate) fn behind<T: std::fmt::Debug>(answer: Result<T, ViewError>) -> Position {
    match answer {
        Err(ViewError::Behind(position)) => position,
        other => panic!("the view is behind and answered {other:?}"),
    }
}

/// Polls until the answer is there, for at most half a minute.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(30);
    while Instant::now() < patience {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen in half a minute");
}
