use std::time::Duration;

use async_trait::async_trait;
use pushgrid_proto::stored;
use pushgrid_runtime::Breaker;
use pushgrid_store::{ErrorKind, EventLog, StoreError};
use pushgrid_types::{Message, Partition, Sequence};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::FutureRecord;

use crate::producer::{DurableProducer, header, number};
use crate::{Config, Failure, Topics, records};

/// Appends in a row that have to time out before the next ones are refused at once, and how long before one is let
/// through to see.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The log, as an ingress writes it.
#[derive(Debug)]
pub struct KafkaLog {
    producer: DurableProducer,
    breaker: Breaker,
    topic: String,
    partitions: u16,
}

impl KafkaLog {
    /// A log over the topics that [`crate::topics::ensure`] has found right. Does not wait for the brokers.
    pub fn open(config: &Config, topics: &Topics) -> Result<Self, Failure> {
        let producer = DurableProducer::new(config.producer(), config.append_timeout)?;
        Ok(Self {
            producer,
            breaker: Breaker::new(FAILURES, PAUSE, PAUSE),
            topic: topics.accepted.clone(),
            partitions: topics.partitions,
        })
    }

    /// Waits until everything that was appended is durable or has failed, at most `timeout`. For draining, when no
    /// more is appended. [`ErrorKind::Unknown`] when something is still on its way.
    pub async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.producer.flush(timeout).await
    }

    /// Whether appends are refused at once because the ones before timed out, for a gauge.
    pub fn breaker_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Octets of all records that were handed to the producer: keys, headers and values, for a counter.
    pub fn octets(&self) -> u64 {
        self.producer.octets()
    }

    /// How many messages are on their way to the brokers, for a gauge.
    pub fn in_flight(&self) -> u64 {
        self.producer.in_flight()
    }

    async fn write(&self, message: &Message) -> Result<u64, StoreError> {
        let partition = Partition::of(message.to.user_agent, self.partitions);
        let record = FutureRecord::to(&self.topic)
            .partition(number(partition))
            .key(message.to.user_agent.as_octets().as_slice())
            .payload(&message.content.body[..])
            .headers(headers_of(message));
        let sent = self.producer.send(record)?;
        self.producer.delivered(sent).await
    }
}

fn headers_of(message: &Message) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(2);
    let headers = match &message.content.trace_parent {
        // Under the name by which tracing tools find it in Kafka.
        Some(parent) => header(headers, records::TRACE_PARENT, parent.as_str().as_bytes()),
        None => headers,
    };
    header(headers, records::MESSAGE, &stored::encode_head(message))
}

#[async_trait]
impl EventLog for KafkaLog {
    /// [`ErrorKind::Unavailable`] also when the queue of the producer is full, and at once while nothing could be
    /// written for a while.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        if !self.breaker.admits() {
            return Err(StoreError::new(ErrorKind::Unavailable, "no append has succeeded for a while"));
        }
        match self.write(&message).await {
            Ok(offset) => {
                let _ = self.breaker.succeeded();
                Ok(Sequence(offset + 1))
            }
            Err(error) => {
                match error.kind {
                    ErrorKind::Unknown => {
                        let _ = self.breaker.failed();
                    }
                    ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Closed => {}
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
