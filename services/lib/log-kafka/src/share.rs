use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use pushgrid_proto::stored;
use pushgrid_store::{ErrorKind, LogReader, StoreError};
use pushgrid_types::{Message, Partition, Sequence};
use rdkafka::consumer::Consumer;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::failure::{of_question, of_thread};
use crate::feed::Feed;
use crate::group::{GroupConsumer, GroupContext};
use crate::producer::number;
use crate::records;

/// One partition in the hands of this router: what its reader, its offsets and the thread of the group have in common.
#[derive(Debug)]
pub(crate) struct ShareState {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Partition,
    slot: Mutex<Slot>,
    commits: Mutex<Commits>,
    arrived: Arc<Notify>,
    /// The offset after the last message that was handed out.
    read: AtomicU64,
    /// Records that could not be read and were passed over.
    skipped: AtomicU64,
    /// The brokers have said that this router is no member, or the owner has dropped its share.
    given_up: AtomicBool,
}

#[derive(Debug)]
enum Slot {
    /// Nobody has said yet where to begin.
    Waiting,
    Reading(Feed<GroupContext>),
    /// To be given up, or given up. librdkafka may still have to be told.
    Over {
        assigned: bool,
    },
}

#[derive(Debug, Default)]
struct Commits {
    closed: bool,
    in_flight: usize,
}

/// A commit that is under way. The share is not handed over before it is dropped.
#[derive(Debug)]
pub(crate) struct Committing(Arc<ShareState>);

impl Drop for Committing {
    fn drop(&mut self) {
        self.0.commits().in_flight -= 1;
    }
}

impl ShareState {
    pub(crate) fn new(topic: Arc<str>, partition: Partition) -> Self {
        Self {
            topic,
            partition,
            slot: Mutex::new(Slot::Waiting),
            commits: Mutex::default(),
            arrived: Arc::default(),
            read: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        }
    }

    /// The reader gets nothing more.
    pub(crate) fn end_reading(&self) {
        let mut slot = self.slot();
        let assigned = match &*slot {
            Slot::Waiting => false,
            Slot::Reading(_) => true,
            Slot::Over { assigned } => *assigned,
        };
        *slot = Slot::Over { assigned };
        drop(slot);
        self.arrived.notify_one();
    }

    /// Whether librdkafka has it assigned, when its reading has ended.
    pub(crate) fn is_assigned(&self) -> bool {
        matches!(*self.slot(), Slot::Over { assigned: true })
    }

    /// Takes no more commits, if none is under way.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut commits = self.commits();
        commits.closed |= commits.in_flight == 0;
        commits.closed
    }

    /// Takes no more commits.
    pub(crate) fn close(&self) {
        self.commits().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.commits().closed
    }

    /// Begins a commit; `None` when it is too late.
    pub(crate) fn begin_commit(self: &Arc<Self>) -> Option<Committing> {
        let mut commits = self.commits();
        if commits.closed {
            return None;
        }
        commits.in_flight += 1;
        Some(Committing(Arc::clone(self)))
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// The offset of the next message that will be handed out; `None` before reading has begun.
    pub(crate) fn read(&self) -> Option<u64> {
        matches!(*self.slot(), Slot::Reading(_)).then(|| self.read.load(Ordering::Relaxed))
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Begins to fetch. Until now librdkafka knew of the partition, and had been told to do nothing with it.
    fn start(&self, consumer: &Weak<GroupConsumer>, offset: u64) -> Result<(), StoreError> {
        let closed = || StoreError::plain(ErrorKind::Closed);
        let consumer = consumer.upgrade().ok_or_else(closed)?;
        let mut slot = self.slot();
        match &*slot {
            Slot::Waiting => {}
            Slot::Reading(_) => return Err(StoreError::new(ErrorKind::Closed, "it is being read already")),
            Slot::Over { .. } => return Err(closed()),
        }
        let partition = number(self.partition);
        let feed = Feed::open(&consumer, &self.topic, partition, Arc::clone(&self.arrived))
            .ok_or_else(|| StoreError::plain(ErrorKind::Unavailable))?;
        let mut at = TopicPartitionList::with_capacity(1);
        let from = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        at.add_partition_offset(&self.topic, partition, from).map_err(of_question)?;
        self.read.store(offset, Ordering::Relaxed);
        consumer.incremental_assign(&at).map_err(of_question)?;
        *slot = Slot::Reading(feed);
        Ok(())
    }

    /// The message of a record; `None` for one that is passed over.
    fn decode(&self, record: &BorrowedMessage<'_>) -> Option<Arc<Message>> {
        let offset = u64::try_from(record.offset()).ok()?;
        let expected = self.read.load(Ordering::Relaxed);
        if offset < expected {
            return None;
        }
        if offset > expected {
            tracing::error!(topic = %self.topic, partition = self.partition.0, offset, missing = offset - expected,
                "messages are missing from the log: the brokers deleted them before they were dealt with");
        }
        self.read.store(offset + 1, Ordering::Relaxed);
        let mut headers = record.headers().into_iter().flat_map(Headers::iter);
        let head = headers.find(|header| header.key == records::MESSAGE).and_then(|header| header.value);
        let body = Bytes::copy_from_slice(record.payload().unwrap_or_default());
        let message = head
            .ok_or(stored::Invalid::Field(records::MESSAGE))
            .and_then(|head| stored::decode_head(head, Sequence(offset + 1), body));
        match message {
            Ok(message) => Some(Arc::new(message)),
            Err(error) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(topic = %self.topic, partition = self.partition.0, offset, %error,
                    "a record of the log cannot be read, and is passed over");
                None
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages of a partition, for its owner.
pub(crate) struct KafkaReader {
    share: Arc<ShareState>,
    consumer: Weak<GroupConsumer>,
    /// What went wrong after the messages that were handed out last.
    failed: Option<StoreError>,
}

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaReader({}/{})", self.share.topic, self.share.partition.0)
    }
}

impl KafkaReader {
    pub(crate) fn new(share: Arc<ShareState>, consumer: Weak<GroupConsumer>) -> Self {
        Self { share, consumer, failed: None }
    }

    /// What is there; `None` when the partition is lost.
    fn gather(&mut self, limit: usize) -> Option<Vec<Arc<Message>>> {
        let mut messages = Vec::new();
        let slot = self.share.slot();
        let feed = match &*slot {
            Slot::Waiting => return Some(messages),
            Slot::Reading(feed) => feed,
            Slot::Over { .. } => return None,
        };
        while messages.len() < limit {
            match feed.take() {
                None => break,
                Some(Ok(record)) => messages.extend(self.share.decode(&record)),
                Some(Err(error)) => {
                    self.failed = Some(of_question(error));
                    break;
                }
            }
        }
        Some(messages)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.share.give_up();
    }
}

#[async_trait]
impl LogReader for KafkaReader {
    async fn seek(&mut self, from: Sequence) -> Result<(), StoreError> {
        let (share, consumer) = (Arc::clone(&self.share), Weak::clone(&self.consumer));
        let offset = from.0.saturating_sub(1);
        tokio::task::spawn_blocking(move || share.start(&consumer, offset)).await.map_err(of_thread)?
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match self.gather(limit.max(1)) {
                None => return Ok(Vec::new()),
                Some(messages) if !messages.is_empty() => return Ok(messages),
                Some(_) if self.failed.is_some() => {}
                Some(_) => self.share.arrived.notified().await,
            }
        }
    }
}
