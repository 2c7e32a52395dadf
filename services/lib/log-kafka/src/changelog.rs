//! The changelog over Kafka, for a router: durable appends to `<prefix>.state`, and readings, each with a
//! consumer of its own. Guarantee: the changes of one append are written in order. The layout of a record is
//! `records`; fencing by leader epoch is done by readers, not here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Change, Changelog, ErrorKind, History, Reading, StoreError};
use pushgrid_types::{LeaderEpoch, Partition, Position, Rng};
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::FutureRecord;

use crate::failure::of_thread;
use crate::passed::Passed;
use crate::producer::{DurableProducer, Sent, header, number};
use crate::reading::{KafkaReading, Place};
use crate::records::{self, Record};
use crate::{Config, Failure, Topics};

/// Changelog over `<prefix>.state`: one idempotent producer, and a consumer for each reading.
#[derive(Debug)]
pub struct KafkaChangelog {
    producer: Arc<DurableProducer>,
    reading: ClientConfig,
    /// Client settings of a fetch of one record: the first claim of a partition.
    glance: ClientConfig,
    passed: Arc<Passed>,
    timeout: Duration,
    topic: String,
    rng: Arc<dyn Rng>,
}

impl KafkaChangelog {
    /// Opens a changelog over the topics returned by [`crate::topics::ensure`]. Does not wait for the
    /// brokers. `rng` draws the random part of claims; `meter` shows the producer, and unreadable records met
    /// by readings.
    pub fn open(config: &Config, topics: &Topics, rng: Arc<dyn Rng>, meter: &Meter) -> Result<Self, Failure> {
        Ok(Self {
            producer: DurableProducer::new(config.producer(), config.append_timeout, meter, "state")?,
            reading: config.reading(),
            glance: config.glance(),
            passed: Arc::new(Passed::new(&topics.state, meter, "state")),
            timeout: config.append_timeout,
            topic: topics.state.clone(),
            rng,
        })
    }

    async fn send(&self, partition: Partition, record: &Record) -> Result<Sent, StoreError> {
        let mut headers = OwnedHeaders::new_with_capacity(4);
        if let Some(leader_epoch) = &record.leader_epoch {
            headers = header(headers, records::LEADER_EPOCH, leader_epoch);
        }
        if let Some((outcome, sequence)) = &record.ended {
            headers = header(headers, records::OUTCOME, std::slice::from_ref(outcome));
            headers = header(headers, records::SEQUENCE, sequence);
        }
        if let Some(reason) = &record.reason {
            headers = header(headers, records::REASON, std::slice::from_ref(reason));
        }
        if let Some(version) = &record.version {
            headers = header(headers, records::VERSION, std::slice::from_ref(version));
        }
        let outgoing = FutureRecord {
            topic: &self.topic,
            partition: Some(number(partition)),
            payload: record.value.as_deref(),
            key: Some(record.key.as_slice()),
            timestamp: None,
            headers: Some(headers),
        };
        self.producer.send_in_turn(outgoing).await
    }

    /// Writes changes, at least one, and returns the offset of the last. All are handed over before the first
    /// acknowledgement is awaited.
    async fn write(
        &self,
        partition: Partition,
        by: LeaderEpoch,
        changes: &[Change],
    ) -> Result<u64, StoreError> {
        let mut sent = Vec::with_capacity(changes.len());
        for change in changes {
            sent.push(self.send(partition, &records::encode(change, by, &*self.rng)).await?);
        }
        let mut last = 0;
        for sent in sent {
            last = self.producer.delivered(sent).await?;
        }
        Ok(last)
    }

    fn place(&self, partition: Partition) -> Place {
        Place { topic: self.topic.clone(), partition: number(partition), passed: Arc::clone(&self.passed) }
    }

    async fn end(&self, partition: Partition) -> Result<u64, StoreError> {
        let (_, end) = self.producer.watermarks(&self.topic, number(partition)).await?;
        u64::try_from(end).map_err(|error| StoreError::new(ErrorKind::Unavailable, error))
    }
}

#[async_trait]
impl Changelog for KafkaChangelog {
    async fn claim(&self, partition: Partition) -> Result<LeaderEpoch, StoreError> {
        let offset = self.write(partition, LeaderEpoch(0), &[Change::Claimed]).await?;
        Ok(LeaderEpoch(offset + 1))
    }

    /// Waits while the producer's queue is full, at most `append_timeout`.
    async fn append(
        &self,
        partition: Partition,
        by: LeaderEpoch,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError> {
        if changes.is_empty() {
            return self.end(partition).await.map(Position);
        }
        let last = self.write(partition, by, &changes).await?;
        Ok(Position(last + 1))
    }

    /// Opens a connection of its own to the brokers, and fetches one record.
    async fn history(&self, partition: Partition) -> Result<History, StoreError> {
        let end = self.end(partition).await?;
        let (place, config, patience) = (self.place(partition), self.glance.clone(), self.timeout);
        let open = move || KafkaReading::open(&config, patience, place, 0, end);
        let mut reading = tokio::task::spawn_blocking(open).await.map_err(of_thread)??;
        let claim = reading.first_claim().await?;
        claim.ok_or_else(|| StoreError::new(ErrorKind::Unavailable, "the changelog has no claim"))
    }

    /// Opens a connection of its own to the brokers. Offsets removed by compaction are skipped.
    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError> {
        let end = self.end(partition).await?;
        let place = self.place(partition);
        if from.0 >= end {
            return Ok(Box::new(KafkaReading::empty(place, end)));
        }
        let (config, patience) = (self.reading.clone(), self.timeout);
        let open = move || KafkaReading::open(&config, patience, place, from.0, end);
        let reading = tokio::task::spawn_blocking(open).await.map_err(of_thread)??;
        Ok(Box::new(reading))
    }
}
