//! The models with others running before and after every call, so that whatever can come in between does.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::memory::{MemoryChangelog, MemoryView};
use pushgrid_store::{
    Change, Changelog, Commit, ErrorKind, Footing, LogReader, Offsets, PageLimit, Reading, Share, StoreError,
    StoredMessage, Subscription, Usage, View, ViewError,
};
use pushgrid_types::{
    ChannelId, Message, MessageId, Partition, Position, Sequence, SubscriptionRef, Tenure, Timestamp, Topic,
    UserAgentId,
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
    async fn claim(&self, partition: Partition) -> Result<Tenure, StoreError> {
        self.call(self.inner.claim(partition)).await
    }

    async fn append(
        &self,
        partition: Partition,
        by: Tenure,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError> {
        self.call(self.inner.append(partition, by, changes)).await
    }

    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError> {
        self.call(self.inner.read(partition, from)).await
    }
}

/// The calls of a view that only ask.
macro_rules! asks {
    ($($name:ident($($argument:ident: $of:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl View for Slow<MemoryView> {
            async fn begin(&self, partition: Partition, tenure: Tenure) -> Result<Position, ViewError> {
                self.call(self.inner.begin(partition, tenure)).await
            }

            async fn apply(
                &self,
                footing: Footing,
                changes: &[Change],
                to: Position,
            ) -> Result<(), ViewError> {
                self.call(self.inner.apply(footing, changes, to)).await
            }

            $(async fn $name(&self, footing: Footing, $($argument: $of),*) -> Result<$answer, ViewError> {
                self.call(self.inner.$name(footing, $($argument),*)).await
            })+
        }
    };
}

asks! {
    complete() -> ();
    find(channels: &[(UserAgentId, ChannelId)]) -> Vec<Option<Subscription>>;
    alive(ids: &[SubscriptionRef]) -> Vec<bool>;
    count(user_agent: UserAgentId) -> usize;
    stored(ids: &[(UserAgentId, MessageId)]) -> Vec<Option<StoredMessage>>;
    in_topic(topics: &[(UserAgentId, ChannelId, Topic)]) -> Vec<Option<StoredMessage>>;
    in_channel(user_agent: UserAgentId, channel: ChannelId) -> Vec<StoredMessage>;
    due(now: Timestamp, limit: usize) -> Vec<(UserAgentId, StoredMessage)>;
    page(user_agent: UserAgentId, after: Sequence, now: Timestamp, limit: PageLimit) -> Vec<Message>;
    usage(user_agent: UserAgentId) -> Usage;
    waiting() -> u64;
}

/// A share whose owner does not hear that it is lost: it has been stopped and goes on later, or is cut off.
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
    async fn seek(&mut self, from: Sequence) -> Result<(), StoreError> {
        self.0.seek(from).await
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let batch = self.0.next(limit).await?;
        if batch.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(batch)
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

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.0.commit(commit).await.map_err(|error| match error.kind {
            ErrorKind::Closed => StoreError::plain(ErrorKind::Unavailable),
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Corrupt => error,
        })
    }
}
