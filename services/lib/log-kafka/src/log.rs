//! The producing side of the event log, for an ingress. Guarantee: an append that returns a sequence is on
//! every replica in sync (promise P1); a time-out is [`ErrorKind::Unknown`]. Reading the log is `share`, the
//! consumer group is `group`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_proto::stored;
use pushgrid_runtime::Breaker;
use pushgrid_runtime::metrics::{BREAKER_OPEN, Meter};
use pushgrid_store::{ErrorKind, EventLog, StoreError};
use pushgrid_types::{Message, Partition, Sequence};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::FutureRecord;

use crate::producer::{DurableProducer, header, number};
use crate::{Config, Failure, Topics, records};

/// Consecutive timed-out appends that open the breaker, and the pause before one probe is let through.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Event log over `<prefix>.accepted`: one idempotent producer behind a circuit breaker.
#[derive(Debug)]
pub struct KafkaLog {
    producer: Arc<DurableProducer>,
    breaker: Arc<Breaker>,
    topic: String,
    partitions: u16,
}

impl KafkaLog {
    /// Opens a log over the topics returned by [`crate::topics::ensure`], and shows the breaker and the
    /// producer in `meter`. Does not wait for the brokers.
    pub fn open(config: &Config, topics: &Topics, meter: &Meter) -> Result<Self, Failure> {
        let producer = DurableProducer::new(config.producer(), config.append_timeout, meter, "accepted")?;
        let breaker = Arc::new(Breaker::new(FAILURES, PAUSE));
        let (open, shown) =
            (meter.gauge(&BREAKER_OPEN, &[("dependency", "kafka")]), Arc::downgrade(&breaker));
        meter.on_scrape(move || {
            let is_open = shown.upgrade().is_some_and(|breaker| breaker.is_open());
            open.set(if is_open { 1.0 } else { 0.0 });
        });
        Ok(Self { producer, breaker, topic: topics.accepted.clone(), partitions: topics.partitions })
    }

    /// Waits at most `timeout` until every append is durable or has failed. For draining, after the last
    /// append. [`ErrorKind::Unknown`] when records are still in flight.
    pub async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.producer.flush(timeout).await
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
    let headers = match records::version_of(message) {
        Some(version) => header(headers, records::ACCEPTED_VERSION, &[version]),
        None => headers,
    };
    header(headers, records::MESSAGE, &stored::encode_head(message))
}

#[async_trait]
impl EventLog for KafkaLog {
    /// [`ErrorKind::Unavailable`] also when the producer's queue is full, and at once while the breaker is
    /// open.
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let Some(admission) = self.breaker.admit() else {
            return Err(StoreError::new(ErrorKind::Unavailable, "no append has succeeded for a while"));
        };
        match self.write(&message).await {
            Ok(offset) => {
                let _ = admission.succeeded();
                Ok(Sequence(offset + 1))
            }
            Err(error) => {
                match error.kind {
                    ErrorKind::Unknown => {
                        let _ = admission.failed();
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
