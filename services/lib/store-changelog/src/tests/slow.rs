//! The models with others running before and after every call, so that whatever can come in between does.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{
    Change, Changelog, Commit, ErrorKind, History, LogReader, Offsets, Page, PageLimit, PageStart,
    ReadBarrier, Reading, Share, Stamp, StoreError, StoredMessage, Subscription, SweepPlace, Usage, View,
    ViewError,
};
use pushgrid_store_model::memory::{MemoryChangelog, MemoryView};
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Partition, Position, ReplaceKey, Sequence, SubscriptionRef,
    Timestamp, UserAgentId,
};

use super::chance::Chance;

#[derive(Debug, Clone)]
pub(super) struct Slow<T> {
    pub(super) inner: T,
    pub(super) chance: Arc<Chance>,
}

impl<T> Slow<T> {
    async fn call<A>(&self, answer: impl Future<Output = A>) -> A {
        self.chance.wait().await;
        let answer = answer.await;
        self.chance.wait().await;
        answer
    }
}

#[async_trait]
impl Changelog for Slow<MemoryChangelog> {
    async fn claim(&self, partition: Partition) -> Result<LeaderEpoch, StoreError> {
        self.call(self.inner.claim(partition)).await
    }

    async fn append(
        &self,
        partition: Partition,
        by: LeaderEpoch,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError> {
        self.call(self.inner.append(partition, by, changes)).await
    }

    async fn history(&self, partition: Partition) -> Result<History, StoreError> {
        self.call(Changelog::history(&self.inner, partition)).await
    }

    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError> {
        self.call(self.inner.read(partition, from)).await
    }
}

/// Read-only calls of a view.
macro_rules! asks {
    ($($name:ident($($argument:ident: $of:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl View for Slow<MemoryView> {
            async fn begin(&self, partition: Partition, leader_epoch: LeaderEpoch) -> Result<Position, ViewError> {
                self.call(self.inner.begin(partition, leader_epoch)).await
            }

            async fn stamp(&self, partition: Partition) -> Result<Option<Stamp>, ViewError> {
                self.call(self.inner.stamp(partition)).await
            }

            async fn sign(
                &self,
                partition: Partition,
                leader_epoch: LeaderEpoch,
                history: History,
            ) -> Result<(), ViewError> {
                self.call(self.inner.sign(partition, leader_epoch, history)).await
            }

            async fn discard(
                &self,
                partition: Partition,
                leader_epoch: LeaderEpoch,
                history: History,
            ) -> Result<(), ViewError> {
                self.call(self.inner.discard(partition, leader_epoch, history)).await
            }

            async fn apply(
                &self,
                barrier: ReadBarrier,
                changes: &[Change],
                to: Position,
            ) -> Result<(), ViewError> {
                self.call(self.inner.apply(barrier, changes, to)).await
            }

            async fn restore(
                &self,
                barrier: ReadBarrier,
                user_agent: UserAgentId,
                changes: &[Change],
                whole: bool,
            ) -> Result<(), ViewError> {
                self.call(self.inner.restore(barrier, user_agent, changes, whole)).await
            }

            $(async fn $name(&self, barrier: ReadBarrier, $($argument: $of),*) -> Result<$answer, ViewError> {
                self.call(self.inner.$name(barrier, $($argument),*)).await
            })+
        }
    };
}

asks! {
    complete() -> Vec<UserAgentId>;
    set_aside(user_agents: &[UserAgentId]) -> ();
    find(channels: &[(UserAgentId, ChannelId)]) -> Vec<Option<Subscription>>;
    alive(ids: &[SubscriptionRef]) -> Vec<bool>;
    count(user_agent: UserAgentId) -> usize;
    all(user_agent: UserAgentId) -> Vec<Subscription>;
    sweep(from: Option<SweepPlace>) -> (Vec<Subscription>, Option<SweepPlace>);
    webhooks(after: Option<UserAgentId>, limit: usize) -> Vec<UserAgentId>;
    stored(ids: &[(UserAgentId, MessageId)]) -> Vec<Option<StoredMessage>>;
    in_topic(topics: &[(UserAgentId, ChannelId, ReplaceKey)]) -> Vec<Option<StoredMessage>>;
    in_channel(user_agent: UserAgentId, channel: ChannelId) -> Vec<StoredMessage>;
    due(now: Timestamp, limit: usize) -> Vec<StoredMessage>;
    page(user_agent: UserAgentId, start: PageStart, now: Timestamp, limit: PageLimit) -> Page;
    message(user_agent: UserAgentId, id: MessageId) -> Option<Message>;
    usage(user_agent: UserAgentId) -> Usage;
    waiting() -> u64;
}

/// Share whose owner does not hear of its loss: stopped and resumed later, or cut off.
pub(super) fn deaf(share: Share) -> Share {
    Share {
        partition: share.partition,
        reader: Box::new(DeafReader(share.reader)),
        offsets: Arc::new(DeafOffsets(share.offsets)),
    }
}

#[derive(Debug)]
struct DeafReader(Box<dyn LogReader>);

#[async_trait]
impl LogReader for DeafReader {
    async fn seek(&mut self, from: Sequence) -> Result<Sequence, StoreError> {
        self.0.seek(from).await
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let batch = self.0.next(limit).await?;
        if batch.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(batch)
    }

    fn take_lost(&mut self) -> Vec<std::ops::Range<Sequence>> {
        self.0.take_lost()
    }

    fn newer(&mut self) -> Vec<Sequence> {
        self.0.newer()
    }
}

struct DeafOffsets(Arc<dyn Offsets>);

impl fmt::Debug for DeafOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl Offsets for DeafOffsets {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        self.0.committed().await
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        self.0.end().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.0.commit(commit).await.map_err(|error| match error.kind {
            ErrorKind::Closed => StoreError::plain(ErrorKind::Unavailable),
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Corrupt => error,
        })
    }
}
