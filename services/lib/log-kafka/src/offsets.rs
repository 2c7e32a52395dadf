//! Committed offsets of a partition, with their metadata, in the consumer group of routers.
//! Invariant: one commit is in flight at a time, so an older commit never overwrites a newer one. The content
//! of the note is the router's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Commit, ErrorKind, Offsets, StoreError};
use pushgrid_types::Sequence;
use pushgrid_types::cast::saturating;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::callbacks::GroupConsumer;
use crate::failure::{of_question, of_thread};
use crate::producer::number;
use crate::share::ShareState;
use crate::watermarks::Watermarks;

/// Deadline of a commit, and of the question for the last one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a commit refused because of a rebalance.
const REBALANCING: Duration = Duration::from_millis(50);

/// Committed offset and note of a partition, kept in the consumer group.
pub(crate) struct KafkaOffsets {
    share: Arc<ShareState>,
    consumer: Weak<GroupConsumer>,
    watermarks: Arc<Watermarks>,
    /// Answer to a commit whose caller stopped waiting. Only one is in flight, so that an older commit never
    /// overwrites a newer one.
    under_way: Mutex<Option<oneshot::Receiver<KafkaResult<()>>>>,
}

impl std::fmt::Debug for KafkaOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KafkaOffsets({}/{})", self.share.topic, self.share.partition.0)
    }
}

/// Meaning of a refused commit for the caller.
enum Refusal {
    /// The partition belongs to another member.
    Closed,
    /// Rebalance in progress: the owner of the partition is not decided yet.
    Rebalancing,
    /// The note exceeds `offset.metadata.max.bytes` of the brokers.
    Note,
    /// The commit may or may not have been kept.
    Unknown,
}

fn refusal(error: &KafkaError) -> Refusal {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::AssignmentLost
            | RDKafkaErrorCode::Fatal,
        ) => Refusal::Closed,
        Some(RDKafkaErrorCode::RebalanceInProgress | RDKafkaErrorCode::IllegalGeneration) => {
            Refusal::Rebalancing
        }
        Some(RDKafkaErrorCode::OffsetMetadataTooLarge) => Refusal::Note,
        Some(_) | None => Refusal::Unknown,
    }
}

impl KafkaOffsets {
    pub(crate) fn new(
        share: Arc<ShareState>,
        consumer: Weak<GroupConsumer>,
        watermarks: Arc<Watermarks>,
    ) -> Self {
        Self { share, consumer, watermarks, under_way: Mutex::default() }
    }

    fn consumer(&self) -> Result<Arc<GroupConsumer>, StoreError> {
        self.consumer.upgrade().ok_or_else(|| StoreError::plain(ErrorKind::Closed))
    }

    /// Sends a commit on a blocking thread, and returns the receiver of its answer.
    fn send(&self, commit: &Commit) -> Result<oneshot::Receiver<KafkaResult<()>>, StoreError> {
        let consumer = self.consumer()?;
        let committing = self.share.begin_commit().ok_or_else(|| StoreError::plain(ErrorKind::Closed))?;
        let mut offsets = TopicPartitionList::with_capacity(1);
        let mut element = offsets.add_partition(&self.share.topic, number(self.share.partition));
        let offset = saturating::<i64>(commit.next.0.saturating_sub(1));
        element.set_offset(Offset::Offset(offset)).map_err(of_question)?;
        element.set_metadata(&commit.note);
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // Bounded by librdkafka: the time-outs of requests and of the session.
            let result = consumer.commit(&offsets, CommitMode::Sync);
            drop(consumer);
            drop(committing);
            // The caller may have stopped waiting.
            let _ = answer.send(result);
        });
        Ok(answered)
    }

    async fn commit_by(&self, deadline: Instant, commit: &Commit) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock().await;
        loop {
            // The earlier commit first, also when its caller has stopped waiting.
            if let Some(earlier) = under_way.as_mut() {
                tokio::time::timeout_at(deadline, earlier)
                    .await
                    .map_err(|elapsed| StoreError::new(ErrorKind::Unavailable, elapsed))?
                    .ok();
                *under_way = None;
            }
            let answered = under_way.insert(self.send(commit)?);
            let answer = tokio::time::timeout_at(deadline, answered)
                .await
                .map_err(|elapsed| StoreError::new(ErrorKind::Unknown, elapsed))?;
            *under_way = None;
            let Err(error) = answer.map_err(|error| StoreError::new(ErrorKind::Closed, error))? else {
                return Ok(());
            };
            match refusal(&error) {
                Refusal::Closed => {
                    self.share.give_up();
                    return Err(StoreError::new(ErrorKind::Closed, error));
                }
                Refusal::Rebalancing if self.share.is_closed() => {
                    return Err(StoreError::new(ErrorKind::Closed, error));
                }
                Refusal::Rebalancing if Instant::now() + REBALANCING < deadline => {
                    tokio::time::sleep(REBALANCING).await;
                }
                Refusal::Rebalancing => return Err(StoreError::new(ErrorKind::Unavailable, error)),
                Refusal::Note => return Err(StoreError::new(ErrorKind::Corrupt, error)),
                Refusal::Unknown => return Err(StoreError::new(ErrorKind::Unknown, error)),
            }
        }
    }
}

#[async_trait]
impl Offsets for KafkaOffsets {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        let consumer = self.consumer()?;
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(&self.share.topic, number(self.share.partition));
        let answer = tokio::task::spawn_blocking(move || consumer.committed_offsets(asked, PATIENCE))
            .await
            .map_err(of_thread)?
            .map_err(of_question)?;
        let elements = answer.elements();
        let element = elements.first().ok_or_else(|| StoreError::plain(ErrorKind::Unavailable))?;
        element.error().map_err(of_question)?;
        match element.offset() {
            Offset::Offset(offset) => {
                let offset =
                    u64::try_from(offset).map_err(|error| StoreError::new(ErrorKind::Corrupt, error))?;
                Ok(Some(Commit { next: Sequence(offset + 1), note: element.metadata().to_owned() }))
            }
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                Ok(None)
            }
        }
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        self.consumer()?;
        let (share, watermarks) = (Arc::clone(&self.share), Arc::clone(&self.watermarks));
        let ask = move || watermarks.end(&share.topic, share.partition);
        tokio::task::spawn_blocking(ask).await.map_err(of_thread)?
    }

    /// Takes at most five seconds, and retries until then during a rebalance.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        if commit.note.len() > Commit::MAX_NOTE || !commit.note.is_ascii() {
            return Err(StoreError::new(ErrorKind::Corrupt, "the note is too long or not ASCII"));
        }
        self.commit_by(Instant::now() + PATIENCE, &commit).await
    }
}

#[cfg(test)]
mod tests;
