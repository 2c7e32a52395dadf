use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Commit, ErrorKind, Offsets, StoreError};
use pushgrid_types::Sequence;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::failure::{of_question, of_thread};
use crate::group::GroupConsumer;
use crate::producer::number;
use crate::share::ShareState;

/// How long a commit, or the question for the last one, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a commit waits after the brokers refused it because the group is being shared out anew.
const REBALANCING: Duration = Duration::from_millis(50);

/// How far a partition has been dealt with, kept in the group of routers.
pub(crate) struct KafkaOffsets {
    share: Arc<ShareState>,
    consumer: Weak<GroupConsumer>,
    /// The answer to a commit that nobody waited for to the end. One at a time is under way, so that an older one never
    /// takes the place of a newer one.
    under_way: Mutex<Option<oneshot::Receiver<KafkaResult<()>>>>,
}

impl std::fmt::Debug for KafkaOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KafkaOffsets({}/{})", self.share.topic, self.share.partition.0)
    }
}

/// What a refusal means for whoever asked.
enum Refusal {
    /// The partition is another's.
    Closed,
    /// The group is being shared out anew: whether this router keeps the partition is not known yet.
    Rebalancing,
    /// The note is too long for these brokers.
    Note,
    /// Nobody knows whether it was kept.
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
    pub(crate) fn new(share: Arc<ShareState>, consumer: Weak<GroupConsumer>) -> Self {
        Self { share, consumer, under_way: Mutex::default() }
    }

    fn consumer(&self) -> Result<Arc<GroupConsumer>, StoreError> {
        self.consumer.upgrade().ok_or_else(|| StoreError::plain(ErrorKind::Closed))
    }

    /// Sends a commit, from a thread that may wait.
    fn send(&self, commit: &Commit) -> Result<oneshot::Receiver<KafkaResult<()>>, StoreError> {
        let consumer = self.consumer()?;
        let committing = self.share.begin_commit().ok_or_else(|| StoreError::plain(ErrorKind::Closed))?;
        let mut offsets = TopicPartitionList::with_capacity(1);
        let mut element = offsets.add_partition(&self.share.topic, number(self.share.partition));
        let offset = i64::try_from(commit.next.0.saturating_sub(1)).unwrap_or(i64::MAX);
        element.set_offset(Offset::Offset(offset)).map_err(of_question)?;
        element.set_metadata(&commit.note);
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // librdkafka bounds it by the time-out of requests and of the session.
            let result = consumer.commit(&offsets, CommitMode::Sync);
            drop(consumer);
            drop(committing);
            // Nobody may be waiting any more.
            let _ = answer.send(result);
        });
        Ok(answered)
    }

    async fn commit_by(&self, deadline: Instant, commit: &Commit) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock().await;
        loop {
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

    /// Takes at most five seconds. While the group is being shared out anew it is tried again until then.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        if commit.note.len() > Commit::MAX_NOTE || !commit.note.is_ascii() {
            return Err(StoreError::new(ErrorKind::Corrupt, "the note is too long or not ASCII"));
        }
        self.commit_by(Instant::now() + PATIENCE, &commit).await
    }
}

#[cfg(test)]
mod tests;
