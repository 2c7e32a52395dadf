use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Change, Changelog, ErrorKind, Reading, StoreError};
use pushgrid_types::{Partition, Position, Rng, Tenure};
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::FutureRecord;

use crate::failure::of_thread;
use crate::producer::{DurableProducer, Sent, header, number};
use crate::reading::KafkaReading;
use crate::records::{self, Record};
use crate::{Config, Failure, Topics};

/// The changelog, as a router writes and reads it.
#[derive(Debug)]
pub struct KafkaChangelog {
    producer: DurableProducer,
    reading: ClientConfig,
    timeout: Duration,
    topic: String,
    rng: Arc<dyn Rng>,
}

impl KafkaChangelog {
    /// A changelog over the topics that [`crate::topics::ensure`] has found right. Does not wait for the brokers.
    /// `rng` names claims.
    pub fn open(config: &Config, topics: &Topics, rng: Arc<dyn Rng>) -> Result<Self, Failure> {
        Ok(Self {
            producer: DurableProducer::new(config.producer(), config.append_timeout)?,
            reading: config.reading(),
            timeout: config.append_timeout,
            topic: topics.state.clone(),
            rng,
        })
    }

    /// Octets of all records that were handed to the producer: keys, headers and values, for a counter.
    pub fn octets(&self) -> u64 {
        self.producer.octets()
    }

    /// How many records are on their way to the brokers, for a gauge.
    pub fn in_flight(&self) -> u64 {
        self.producer.in_flight()
    }

    async fn send(&self, partition: Partition, record: &Record) -> Result<Sent, StoreError> {
        let mut headers = OwnedHeaders::new_with_capacity(3);
        if let Some(tenure) = &record.tenure {
            headers = header(headers, records::TENURE, tenure);
        }
        if let Some((outcome, sequence)) = &record.ended {
            headers = header(headers, records::OUTCOME, std::slice::from_ref(outcome));
            headers = header(headers, records::SEQUENCE, sequence);
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

    /// Writes changes, and answers the offset of the last one. There is at least one.
    async fn write(&self, partition: Partition, by: Tenure, changes: &[Change]) -> Result<u64, StoreError> {
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

    async fn end(&self, partition: Partition) -> Result<u64, StoreError> {
        let (_, end) = self.producer.watermarks(&self.topic, number(partition)).await?;
        u64::try_from(end).map_err(|error| StoreError::new(ErrorKind::Unavailable, error))
    }
}

#[async_trait]
impl Changelog for KafkaChangelog {
    async fn claim(&self, partition: Partition) -> Result<Tenure, StoreError> {
        let offset = self.write(partition, Tenure(0), &[Change::Claimed]).await?;
        Ok(Tenure(offset + 1))
    }

    /// Waits while the queue of the producer is full, at most as long as a record may take.
    async fn append(
        &self,
        partition: Partition,
        by: Tenure,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError> {
        if changes.is_empty() {
            return self.end(partition).await.map(Position);
        }
        let last = self.write(partition, by, &changes).await?;
        Ok(Position(last + 1))
    }

    /// Each reading has a connection of its own to the brokers. What compaction has taken away is passed over.
    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError> {
        let end = self.end(partition).await?;
        let (topic, partition) = (self.topic.clone(), number(partition));
        if from.0 >= end {
            return Ok(Box::new(KafkaReading::empty(&topic, partition, end)));
        }
        let (config, patience) = (self.reading.clone(), self.timeout);
        let open = move || KafkaReading::open(&config, patience, &topic, partition, from.0, end);
        let reading = tokio::task::spawn_blocking(open).await.map_err(of_thread)??;
        Ok(Box::new(reading))
    }
}
