use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use pushgrid_store::{ErrorKind, StoreError};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use crate::Failure;
use crate::client::Lines;
use crate::failure::{is_fatal, of_append, of_question, of_thread};

/// A producer that has failed for good is replaced, but not more often than this.
const RENEWAL: Duration = Duration::from_secs(5);
/// How long a full queue is left alone before it is tried again.
const FULL: Duration = Duration::from_millis(5);

type Client = FutureProducer<Lines>;
pub(crate) type Outgoing<'a> = FutureRecord<'a, [u8], [u8]>;

/// A producer of durable records. It is made anew after errors that librdkafka calls fatal.
pub(crate) struct DurableProducer {
    config: ClientConfig,
    /// How long a record may take. librdkafka has the same bound, but looks at it once a second only.
    timeout: Duration,
    current: RwLock<Client>,
    renewed: Mutex<Option<Instant>>,
    octets: AtomicU64,
}

/// A record on its way.
pub(crate) struct Sent(DeliveryFuture);

impl fmt::Debug for DurableProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableProducer")
    }
}

impl DurableProducer {
    pub(crate) fn new(config: ClientConfig, timeout: Duration) -> Result<Self, Failure> {
        let client = make(&config).map_err(|error| Failure::client(&error))?;
        Ok(Self {
            config,
            timeout,
            current: RwLock::new(client),
            renewed: Mutex::default(),
            octets: AtomicU64::new(0),
        })
    }

    /// Hands a record over. Those of one partition are written in the order of these calls. Does not wait: when the
    /// queue is full that is an error, and nothing was sent.
    pub(crate) fn send(&self, record: Outgoing<'_>) -> Result<Sent, StoreError> {
        self.count(&record);
        match self.client().send_result(record) {
            Ok(delivery) => Ok(Sent(delivery)),
            Err((error, _)) => Err(self.refused(error)),
        }
    }

    /// The same, but waits while the queue is full, at most as long as a record may take.
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

    /// Waits until a record is durable, and answers its offset.
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
            // The producer has been replaced or closed before it knew.
            Ok(Err(canceled)) => Err(StoreError::new(ErrorKind::Unknown, canceled)),
            Err(elapsed) => Err(StoreError::new(ErrorKind::Unknown, elapsed)),
        }
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.ask(move |client| client.flush(timeout))
            .await?
            .map_err(|error| StoreError::new(ErrorKind::Unknown, error))
    }

    /// Where a partition begins and ends.
    pub(crate) async fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), StoreError> {
        let (topic, timeout) = (topic.to_owned(), self.timeout);
        self.ask(move |client| client.client().fetch_watermarks(&topic, partition, timeout))
            .await?
            .map_err(of_question)
    }

    /// Octets of all records that were handed over.
    pub(crate) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    fn count(&self, record: &Outgoing<'_>) {
        let headers = record.headers.iter().flat_map(Headers::iter);
        let headers: usize =
            headers.map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
        let octets = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len) + headers;
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    /// How many records are on their way.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::try_from(self.client().in_flight_count()).unwrap_or_default()
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
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.is_some_and(|renewed| renewed.elapsed() < RENEWAL) {
            return;
        }
        *renewed = Some(Instant::now());
        match make(&self.config) {
            Ok(client) => {
                tracing::warn!("the producer has failed for good: a new one takes its place");
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                let old = std::mem::replace(&mut *current, client);
                drop(current);
                // It waits for its own thread when it is dropped.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                tracing::error!(%error, "the producer has failed for good, and no new one can be made");
            }
        }
    }

    fn client(&self) -> Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn make(config: &ClientConfig) -> KafkaResult<Client> {
    config.create_with_context(Lines::default())
}

/// A header of a record.
pub(crate) fn header(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// The number by which librdkafka knows a partition.
pub(crate) fn number(partition: pushgrid_types::Partition) -> i32 {
    i32::from(partition.0)
}
