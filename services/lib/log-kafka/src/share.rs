//! One partition in the hands of this router: the reader of the messages, and the state shared by reader,
//! offsets and group thread.
//! Invariant: once a share is closed no commit begins, and the share is handed over only when no commit is in
//! flight. Commits themselves are in `offsets`.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_proto::stored;
use pushgrid_store::{ErrorKind, LogReader, StoreError, UnreadableCause};
use pushgrid_types::cast::saturating;
use pushgrid_types::{Message, Partition, Sequence};
use rdkafka::consumer::Consumer;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::callbacks::{GroupConsumer, GroupContext};
use crate::failure::{of_question, of_thread};
use crate::feed::Feed;
use crate::passed::Passed;
use crate::producer::number;
use crate::records;
use crate::watermarks::Watermarks;

/// State of one partition, shared by its reader, its offsets and the group thread.
#[derive(Debug)]
pub(crate) struct ShareState {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Partition,
    slot: Mutex<Slot>,
    commits: Mutex<Commits>,
    arrived: Arc<Notify>,
    /// Offset after the last message handed out.
    read: AtomicU64,
    /// Sequences deleted by the brokers' retention, until taken by [`LogReader::take_lost`].
    lost: Mutex<Vec<Range<Sequence>>>,
    /// Counter of unreadable records.
    passed: Arc<Passed>,
    /// Set when the brokers no longer know this member, or the owner dropped the share.
    given_up: AtomicBool,
}

#[derive(Debug)]
enum Slot {
    /// Before the first seek.
    Waiting,
    Reading(Feed<GroupContext>),
    /// Reading has ended; librdkafka may still have the partition assigned.
    Over {
        assigned: bool,
    },
}

#[derive(Debug, Default)]
struct Commits {
    closed: bool,
    in_flight: usize,
}

/// Commit in flight. Holds the hand-over of the share up until dropped.
#[derive(Debug)]
pub(crate) struct Committing(Arc<ShareState>);

impl Drop for Committing {
    fn drop(&mut self) {
        self.0.commits().in_flight -= 1;
    }
}

impl ShareState {
    pub(crate) fn new(topic: Arc<str>, partition: Partition, passed: Arc<Passed>) -> Self {
        Self {
            topic,
            partition,
            slot: Mutex::new(Slot::Waiting),
            commits: Mutex::default(),
            arrived: Arc::default(),
            read: AtomicU64::new(0),
            lost: Mutex::default(),
            passed,
            given_up: AtomicBool::new(false),
        }
    }

    /// Ends reading: the reader gets nothing more.
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

    /// True when reading has ended and librdkafka still has the partition assigned.
    pub(crate) fn is_assigned(&self) -> bool {
        matches!(*self.slot(), Slot::Over { assigned: true })
    }

    /// Closes the share to commits if none is in flight, and returns `true` once closed.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut commits = self.commits();
        commits.closed |= commits.in_flight == 0;
        commits.closed
    }

    /// Closes the share to commits.
    pub(crate) fn close(&self) {
        self.commits().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.commits().closed
    }

    /// Starts a commit; `None` once closed.
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

    /// Offset of the next message to hand out; `None` unless reading.
    pub(crate) fn read(&self) -> Option<u64> {
        matches!(*self.slot(), Slot::Reading(_)).then(|| self.read.load(Ordering::Relaxed))
    }

    /// Starts fetching at `offset`. Until then the rebalance had been answered without this partition.
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
        let from = Offset::Offset(saturating::<i64>(offset));
        at.add_partition_offset(&self.topic, partition, from).map_err(of_question)?;
        self.read.store(offset, Ordering::Relaxed);
        consumer.incremental_assign(&at).map_err(of_question)?;
        *slot = Slot::Reading(feed);
        Ok(())
    }

    /// Decodes a record; `None` for one passed over. The sequence of a record of a newer release goes to
    /// `newer`.
    fn decode(&self, record: &BorrowedMessage<'_>, newer: &mut Vec<Sequence>) -> Option<Arc<Message>> {
        let offset = u64::try_from(record.offset()).ok()?;
        let expected = self.read.load(Ordering::Relaxed);
        // Handed out before: sequences never go back.
        if offset < expected {
            return None;
        }
        if offset > expected {
            self.lost().push(Sequence(expected + 1)..Sequence(offset + 1));
            tracing::error!(topic = %self.topic, partition = self.partition.0, offset, missing = offset - expected,
                "messages are missing from the log: the brokers deleted them before they were dealt with");
        }
        self.read.store(offset + 1, Ordering::Relaxed);
        let header = |key| {
            let mut headers = record.headers().into_iter().flat_map(Headers::iter);
            headers.find(|header| header.key == key).map(|header| header.value)
        };
        let version = header(records::ACCEPTED_VERSION).map(Option::unwrap_or_default);
        if !records::is_known_version(version) {
            newer.push(Sequence(offset + 1));
            let reason = records::Invalid::Version.to_string();
            self.passed.add(number(self.partition), offset, UnreadableCause::Newer, &reason);
            return None;
        }
        let body = Bytes::copy_from_slice(record.payload().unwrap_or_default());
        let message = header(records::MESSAGE)
            .flatten()
            .ok_or(stored::Invalid::Field(records::MESSAGE))
            .and_then(|head| stored::decode_head(head, Sequence(offset + 1), body));
        match message {
            Ok(message) => Some(Arc::new(message)),
            Err(error) => {
                let reason = error.to_string();
                self.passed.add(number(self.partition), offset, UnreadableCause::Damaged, &reason);
                None
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock()
    }

    fn lost(&self) -> MutexGuard<'_, Vec<Range<Sequence>>> {
        self.lost.lock()
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock()
    }
}

/// Reader of the messages of a partition, for its owner.
pub(crate) struct KafkaReader {
    share: Arc<ShareState>,
    consumer: Weak<GroupConsumer>,
    watermarks: Arc<Watermarks>,
    /// Error met after the last messages handed out; returned by the next call.
    failed: Option<StoreError>,
    /// Sequences of records of a newer release, until taken by [`LogReader::newer`].
    newer: Vec<Sequence>,
}

/// Most sequences of newer records gathered in one call.
const NEWER: usize = 1 << 10;

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaReader({}/{})", self.share.topic, self.share.partition.0)
    }
}

impl KafkaReader {
    pub(crate) fn new(
        share: Arc<ShareState>,
        consumer: Weak<GroupConsumer>,
        watermarks: Arc<Watermarks>,
    ) -> Self {
        Self { share, consumer, watermarks, failed: None, newer: Vec::new() }
    }

    /// Takes fetched messages, up to `limit`; `None` once the partition is lost.
    fn gather(&mut self, limit: usize) -> Option<Vec<Arc<Message>>> {
        let mut messages = Vec::new();
        let slot = self.share.slot();
        let feed = match &*slot {
            Slot::Waiting => return Some(messages),
            Slot::Reading(feed) => feed,
            Slot::Over { .. } => return None,
        };
        while messages.len() < limit && self.newer.len() < NEWER {
            match feed.take() {
                None => break,
                Some(Ok(record)) => messages.extend(self.share.decode(&record, &mut self.newer)),
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
    async fn seek(&mut self, from: Sequence) -> Result<Sequence, StoreError> {
        let (share, consumer) = (Arc::clone(&self.share), Weak::clone(&self.consumer));
        let watermarks = Arc::clone(&self.watermarks);
        let offset = from.0.saturating_sub(1);
        // The end first: a failed question is retried by the caller, while reading can start only once.
        let seek = move || {
            let end = watermarks.end(&share.topic, share.partition)?;
            share.start(&consumer, offset).map(|()| end)
        };
        tokio::task::spawn_blocking(seek).await.map_err(of_thread)?
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match self.gather(limit.max(1)) {
                None => return Ok(Vec::new()),
                Some(messages) if !messages.is_empty() || !self.newer.is_empty() => return Ok(messages),
                Some(_) if self.failed.is_some() => {}
                Some(_) => self.share.arrived.notified().await,
            }
        }
    }

    fn take_lost(&mut self) -> Vec<Range<Sequence>> {
        std::mem::take(&mut self.share.lost())
    }

    fn newer(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.newer)
    }
}
