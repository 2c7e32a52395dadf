//! One reading of a changelog partition, from a position to the end that the partition had at the opening.
//! Guarantee: every record up to this end is handed out once, in order, or an error is returned; an
//! unreadable one is handed out as [`Unreadable`]. Nothing is committed here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{ChangelogRecord, ErrorKind, History, Reading, StoreError, Unreadable};
use pushgrid_types::Position;
use pushgrid_types::cast::saturating;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::client::Lines;
use crate::failure::of_question;
use crate::feed::Feed;
use crate::passed::Passed;
use crate::records::{self, Raw};

/// Partition of the changelog for a reading.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Counter of unreadable records.
    pub(crate) passed: Arc<Passed>,
}

/// Reading of one changelog partition, from a position up to `end`.
pub(crate) struct KafkaReading {
    place: Place,
    end: u64,
    /// `None` once the reading is complete.
    source: Option<Source>,
    arrived: Arc<Notify>,
    /// Longest wait for the brokers.
    patience: Duration,
    /// Error met after the last records handed out; returned by the next call.
    failed: Option<StoreError>,
}

struct Source {
    // Declared before the consumer, so dropped first: the queue is part of the consumer.
    feed: Feed<Lines>,
    consumer: Arc<BaseConsumer<Lines>>,
}

impl fmt::Debug for KafkaReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaReading({}/{} to {})", self.place.topic, self.place.partition, self.end)
    }
}

/// Result of one look into the feed.
enum Took {
    Record(ChangelogRecord),
    /// End of the reading.
    All,
    /// No record fetched yet.
    Nothing,
}

impl KafkaReading {
    /// Makes an empty reading that ends at `end`.
    pub(crate) fn empty(place: Place, end: u64) -> Self {
        Self { place, end, source: None, arrived: Arc::default(), patience: Duration::ZERO, failed: None }
    }

    /// Makes a consumer and assigns the partition from `from`. May block briefly: not for a thread of the
    /// runtime.
    pub(crate) fn open(
        config: &ClientConfig,
        patience: Duration,
        place: Place,
        from: u64,
        end: u64,
    ) -> Result<Self, StoreError> {
        let consumer: BaseConsumer<Lines> =
            config.create_with_context(Lines::default()).map_err(of_question)?;
        let consumer = Arc::new(consumer);
        let arrived = Arc::new(Notify::new());
        let (topic, partition) = (place.topic.as_str(), place.partition);
        let feed = Feed::open(&consumer, topic, partition, Arc::clone(&arrived))
            .ok_or_else(|| StoreError::plain(ErrorKind::Unavailable))?;
        let mut at = TopicPartitionList::new();
        let from = Offset::Offset(saturating::<i64>(from));
        at.add_partition_offset(topic, partition, from).map_err(of_question)?;
        consumer.assign(&at).map_err(of_question)?;
        let source = Some(Source { feed, consumer });
        Ok(Self { place, end, source, arrived, patience, failed: None })
    }

    /// Takes the next fetched record, as `of` reads the message.
    fn take(
        &self,
        of: impl FnOnce(&Self, &BorrowedMessage<'_>, Position) -> Took,
    ) -> Result<Took, StoreError> {
        let Some(source) = &self.source else { return Ok(Took::All) };
        match source.feed.take() {
            None => Ok(Took::Nothing),
            Some(Ok(message)) => {
                let offset = saturating::<u64>(message.offset());
                // Compaction may have removed the last records before the end, so a later offset ends the reading too.
                Ok(if offset >= self.end { Took::All } else { of(self, &message, Position(offset)) })
            }
            // Complete: `end` was read before the reading was opened.
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Took::All),
            Some(Err(error)) => Err(of_question(error)),
        }
    }

    fn decode(&self, message: &BorrowedMessage<'_>, position: Position) -> Took {
        let mut raw =
            Raw { key: message.key().unwrap_or_default(), value: message.payload(), ..Raw::default() };
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            match header.key {
                records::LEADER_EPOCH => raw.leader_epoch = header.value,
                records::OUTCOME => raw.outcome = header.value,
                records::REASON => raw.reason = header.value,
                records::SEQUENCE => raw.sequence = header.value,
                records::VERSION => raw.version = Some(header.value.unwrap_or_default()),
                _ => {}
            }
        }
        Took::Record(match records::decode(position, raw) {
            Ok(entry) => ChangelogRecord::Entry(entry),
            Err(invalid) => {
                let Place { partition, passed, .. } = &self.place;
                passed.add(*partition, position.0, invalid.cause(), &invalid.to_string());
                let (key, cause) = (records::key_of(raw.key), invalid.cause());
                let is_tombstone = raw.value.is_none();
                ChangelogRecord::Unreadable(Unreadable { position, key, cause, is_tombstone })
            }
        })
    }

    /// First claim at or after the current offset; `None` when there is none. Ends the reading.
    pub(crate) async fn first_claim(&mut self) -> Result<Option<History>, StoreError> {
        loop {
            self.serve();
            let (mut claim, mut is_other) = (None, false);
            let took = self.take(|_, message, _| {
                claim = message.key().and_then(records::claim_of);
                is_other = claim.is_none();
                Took::Nothing
            })?;
            if claim.is_some() || matches!(took, Took::All) {
                self.close();
                return Ok(claim);
            }
            if !is_other {
                self.arrival().await?;
            }
        }
    }

    /// Waits for a fetched record. [`ErrorKind::Unavailable`] after `patience`.
    async fn arrival(&self) -> Result<(), StoreError> {
        tokio::time::timeout(self.patience, self.arrived.notified())
            .await
            .map_err(|elapsed| StoreError::new(ErrorKind::Unavailable, elapsed))
    }

    /// Appends fetched records to `records`, up to `limit`, and returns `true` at the end of the reading.
    fn gather(&mut self, limit: usize, records: &mut Vec<ChangelogRecord>) -> bool {
        while records.len() < limit {
            match self.take(Self::decode) {
                Ok(Took::Record(record)) => {
                    let is_last = record.position().0 + 1 >= self.end;
                    records.push(record);
                    if is_last {
                        return true;
                    }
                }
                Ok(Took::All) => return true,
                Ok(Took::Nothing) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        false
    }

    /// Serves the client's main queue, where librdkafka puts log lines and errors.
    fn serve(&self) {
        if let Some(source) = &self.source {
            while let Some(event) = source.consumer.poll(Duration::ZERO) {
                if event.is_ok() {
                    tracing::error!(
                        topic = self.place.topic,
                        partition = self.place.partition,
                        "a record came the wrong way"
                    );
                }
            }
        }
    }

    fn close(&mut self) {
        if let Some(source) = self.source.take() {
            // Dropping closes the connections and joins librdkafka's threads, so a thread of its own waits for that.
            std::thread::spawn(move || drop(source));
        }
    }
}

impl Drop for KafkaReading {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Reading for KafkaReading {
    /// [`ErrorKind::Unavailable`] when no record arrives within `append_timeout`.
    async fn next(&mut self, limit: usize) -> Result<Vec<ChangelogRecord>, StoreError> {
        let mut records = Vec::new();
        while self.source.is_some() && records.is_empty() && limit > 0 {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.serve();
            if self.gather(limit, &mut records) {
                self.close();
            } else if records.is_empty() && self.failed.is_none() {
                self.arrival().await?;
            }
        }
        Ok(records)
    }

    fn end(&self) -> Position {
        Position(self.end)
    }
}
