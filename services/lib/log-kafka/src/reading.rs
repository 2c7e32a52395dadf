use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Entry, ErrorKind, Reading, StoreError};
use pushgrid_types::Position;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::client::Lines;
use crate::failure::of_question;
use crate::feed::Feed;
use crate::records::{self, Raw};

/// One partition of the changelog, from a position on.
pub(crate) struct KafkaReading {
    topic: String,
    partition: i32,
    end: u64,
    /// `None` when all has been read.
    source: Option<Source>,
    arrived: Arc<Notify>,
    /// How long it waits for the brokers.
    patience: Duration,
    /// What went wrong after the entries that were handed out last.
    failed: Option<StoreError>,
}

struct Source {
    // Before the consumer: it belongs to it.
    feed: Feed<Lines>,
    consumer: Arc<BaseConsumer<Lines>>,
}

impl fmt::Debug for KafkaReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaReading({}/{} to {})", self.topic, self.partition, self.end)
    }
}

/// What one look into the feed gave.
enum Took {
    Entry(Entry),
    /// Nothing of what is asked for: all has been read.
    All,
    /// Nothing yet.
    Nothing,
}

impl KafkaReading {
    /// Nothing, ending at `end`.
    pub(crate) fn empty(topic: &str, partition: i32, end: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            end,
            source: None,
            arrived: Arc::default(),
            patience: Duration::ZERO,
            failed: None,
        }
    }

    /// Makes a consumer: to be called where it may block for a moment.
    pub(crate) fn open(
        config: &ClientConfig,
        patience: Duration,
        topic: &str,
        partition: i32,
        from: u64,
        end: u64,
    ) -> Result<Self, StoreError> {
        let consumer: BaseConsumer<Lines> =
            config.create_with_context(Lines::default()).map_err(of_question)?;
        let consumer = Arc::new(consumer);
        let arrived = Arc::new(Notify::new());
        let feed = Feed::open(&consumer, topic, partition, Arc::clone(&arrived))
            .ok_or_else(|| StoreError::plain(ErrorKind::Unavailable))?;
        let mut at = TopicPartitionList::new();
        let from = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        at.add_partition_offset(topic, partition, from).map_err(of_question)?;
        consumer.assign(&at).map_err(of_question)?;
        let source = Some(Source { feed, consumer });
        Ok(Self { topic: topic.to_owned(), partition, end, source, arrived, patience, failed: None })
    }

    fn take(&self) -> Result<Took, StoreError> {
        let Some(source) = &self.source else { return Ok(Took::All) };
        match source.feed.take() {
            None => Ok(Took::Nothing),
            Some(Ok(message)) => {
                let offset = u64::try_from(message.offset()).unwrap_or_default();
                // The last records before the end may have been compacted away, so it shows here at the latest.
                if offset >= self.end { Ok(Took::All) } else { self.decode(&message).map(Took::Entry) }
            }
            // Everything that there was has been handed out: `end` was asked for before.
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Took::All),
            Some(Err(error)) => Err(of_question(error)),
        }
    }

    fn decode(&self, message: &BorrowedMessage<'_>) -> Result<Entry, StoreError> {
        let mut raw =
            Raw { key: message.key().unwrap_or_default(), value: message.payload(), ..Raw::default() };
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            match header.key {
                records::TENURE => raw.tenure = header.value,
                records::OUTCOME => raw.outcome = header.value,
                records::SEQUENCE => raw.sequence = header.value,
                _ => {}
            }
        }
        let offset = message.offset();
        records::decode(Position(u64::try_from(offset).unwrap_or_default()), raw).map_err(|error| {
            tracing::error!(topic = self.topic, partition = self.partition, offset, %error, "a record of the changelog cannot be read");
            StoreError::new(ErrorKind::Corrupt, error)
        })
    }

    /// What is there, up to `limit` entries; and whether the reading ends there.
    fn gather(&mut self, limit: usize, entries: &mut Vec<Entry>) -> bool {
        while entries.len() < limit {
            match self.take() {
                Ok(Took::Entry(entry)) => {
                    let is_last = entry.position.0 + 1 >= self.end;
                    entries.push(entry);
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

    /// Log lines and errors of the client lie in a queue of their own.
    fn serve(&self) {
        if let Some(source) = &self.source {
            while let Some(event) = source.consumer.poll(Duration::ZERO) {
                if event.is_ok() {
                    tracing::error!(
                        topic = self.topic,
                        partition = self.partition,
                        "a record came the wrong way"
                    );
                }
            }
        }
    }

    fn close(&mut self) {
        if let Some(source) = self.source.take() {
            // It says goodbye to the brokers when it is dropped, and waits for its threads.
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
    /// [`ErrorKind::Corrupt`] for a record that cannot be read; [`ErrorKind::Unavailable`] when the brokers have had
    /// nothing to say for the time-out of appends.
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        while self.source.is_some() && entries.is_empty() && limit > 0 {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.serve();
            if self.gather(limit, &mut entries) {
                self.close();
            } else if entries.is_empty() && self.failed.is_none() {
                tokio::time::timeout(self.patience, self.arrived.notified())
                    .await
                    .map_err(|elapsed| StoreError::new(ErrorKind::Unavailable, elapsed))?;
            }
        }
        Ok(entries)
    }

    fn end(&self) -> Position {
        Position(self.end)
    }
}
