//! An idempotent producer of durable records. Guarantee: records of one partition are written in the order in
//! which they were queued, once each or not at all; a record without an answer in time is
//! [`ErrorKind::Unknown`]. The content of a record is the caller's.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Counter;
use parking_lot::{Mutex, RwLock};
use pushgrid_runtime::metrics::{LOG_IN_FLIGHT, LOG_OCTETS, Meter, level};
use pushgrid_store::{ErrorKind, StoreError};
use pushgrid_types::cast::saturating;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use crate::Failure;
use crate::client::Lines;
use crate::failure::{is_fatal, of_append, of_question, of_thread};

/// Shortest time between two replacements of a producer after a fatal error.
const RENEWAL: Duration = Duration::from_secs(5);
/// Pause before a full queue is tried again.
const FULL: Duration = Duration::from_millis(5);

type Client = FutureProducer<Lines>;
pub(crate) type Outgoing<'a> = FutureRecord<'a, [u8], [u8]>;

/// Producer of durable records, replaced after an error that librdkafka calls fatal.
pub(crate) struct DurableProducer {
    config: ClientConfig,
    /// Deadline of a record. librdkafka has the same bound but checks once a second only.
    timeout: Duration,
    current: RwLock<Client>,
    renewed: Mutex<Option<Instant>>,
    /// Octets of keys, headers and values of all records queued.
    octets: Counter,
}

/// Record in flight.
pub(crate) struct Sent(DeliveryFuture);

impl fmt::Debug for DurableProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableProducer")
    }
}

impl DurableProducer {
    /// Makes a producer that shows what it sends under the name `topic` in `meter`.
    pub(crate) fn new(
        config: ClientConfig,
        timeout: Duration,
        meter: &Meter,
        topic: &'static str,
    ) -> Result<Arc<Self>, Failure> {
        let client = make(&config).map_err(|error| Failure::client(&error))?;
        let labels = [("topic", topic)];
        let producer = Arc::new(Self {
            config,
            timeout,
            current: RwLock::new(client),
            renewed: Mutex::default(),
            octets: meter.counter(&LOG_OCTETS, &labels),
        });
        let (in_flight, shown) = (meter.gauge(&LOG_IN_FLIGHT, &labels), Arc::downgrade(&producer));
        meter.on_scrape(move || {
            if let Some(producer) = shown.upgrade() {
                in_flight.set(level(producer.in_flight()));
            }
        });
        Ok(producer)
    }

    /// Queues a record without waiting. Records of one partition are written in the order of these calls. A
    /// full queue is an error, and nothing was sent.
    pub(crate) fn send(&self, record: Outgoing<'_>) -> Result<Sent, StoreError> {
        self.count(&record);
        match self.client().send_result(record) {
            Ok(delivery) => Ok(Sent(delivery)),
            Err((error, _)) => Err(self.refused(error)),
        }
    }

    /// Queues a record, waiting while the queue is full until the deadline of a record.
    pub(crate) async fn send_in_turn(&self, mut record: Outgoing<'_>) -> Result<Sent, StoreError> {
        self.count(&record);
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.client().send_result(record) {
                Ok(delivery) => return Ok(Sent(delivery)),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                }
                Err((error, _)) => return Err(self.refused(error)),
            }
            tokio::time::sleep(FULL).await;
        }
    }

    /// Waits until a record is acknowledged by the brokers, and returns its offset.
    pub(crate) async fn delivered(&self, Sent(delivery): Sent) -> Result<u64, StoreError> {
        match tokio::time::timeout(self.timeout, delivery).await {
            Ok(Ok(Ok(Delivery { offset, .. }))) => {
                u64::try_from(offset).map_err(|error| StoreError::new(ErrorKind::Unknown, error))
            }
            Ok(Ok(Err((error, _)))) => {
                if is_fatal(&error) {
                    self.renew();
                }
                Err(of_append(error))
            }
            // The producer was replaced or closed before the acknowledgement.
            Ok(Err(canceled)) => Err(StoreError::new(ErrorKind::Unknown, canceled)),
            Err(elapsed) => Err(StoreError::new(ErrorKind::Unknown, elapsed)),
        }
    }

    /// Waits at most `timeout` until no record is in flight.
    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.ask(move |client| client.flush(timeout))
            .await?
            .map_err(|error| StoreError::new(ErrorKind::Unknown, error))
    }

    /// First offset and end offset of a partition.
    pub(crate) async fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), StoreError> {
        let (topic, timeout) = (topic.to_owned(), self.timeout);
        self.ask(move |client| client.client().fetch_watermarks(&topic, partition, timeout))
            .await?
            .map_err(of_question)
    }

    fn count(&self, record: &Outgoing<'_>) {
        let headers = record.headers.iter().flat_map(Headers::iter);
        let headers: usize =
            headers.map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
        let octets = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len) + headers;
        self.octets.increment(octets as u64);
    }

    fn in_flight(&self) -> u64 {
        saturating::<u64>(self.client().in_flight_count())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Client) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let client = self.client();
        tokio::task::spawn_blocking(move || question(client)).await.map_err(of_thread)
    }

    fn refused(&self, error: KafkaError) -> StoreError {
        if is_fatal(&error) {
            self.renew();
            return StoreError::new(ErrorKind::Unavailable, error);
        }
        of_append(error)
    }

    fn renew(&self) {
        let mut renewed = self.renewed.lock();
        if renewed.is_some_and(|renewed| renewed.elapsed() < RENEWAL) {
            return;
        }
        *renewed = Some(Instant::now());
        match make(&self.config) {
            Ok(client) => {
                tracing::warn!("the producer has failed for good: a new one takes its place");
                let mut current = self.current.write();
                let old = std::mem::replace(&mut *current, client);
                drop(current);
                // Dropping joins librdkafka's thread, so another thread waits for that.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                tracing::error!(%error, "the producer has failed for good, and no new one can be made");
            }
        }
    }

    fn client(&self) -> Client {
        self.current.read().clone()
    }
}

fn make(config: &ClientConfig) -> KafkaResult<Client> {
    config.create_with_context(Lines::default())
}

/// Adds a header.
pub(crate) fn header(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// librdkafka's number of a partition.
pub(crate) fn number(partition: pushgrid_types::Partition) -> i32 {
    i32::from(partition.0)
}
