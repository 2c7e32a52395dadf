//! The question for the end of a partition, to the brokers.

use std::fmt;
use std::time::Duration;

use pushgrid_store::{ErrorKind, StoreError};
use pushgrid_types::{Partition, Sequence};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;

use crate::Config;
use crate::failure::of_question;
use crate::producer::number;

/// Deadline of the question.
const PATIENCE: Duration = Duration::from_secs(5);

/// Client for high watermarks, which reads nothing: on the connection of a reader, a question waits behind a fetch,
/// and the fetch waits up to half a second for messages.
pub(crate) struct Watermarks(BaseConsumer);

impl fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watermarks")
    }
}

impl Watermarks {
    /// Does not wait for the brokers.
    pub(crate) fn new(config: &Config) -> KafkaResult<Self> {
        config.glance().create().map(Self)
    }

    /// Sequence of the next message of a partition. Blocks, at most five seconds.
    pub(crate) fn end(&self, topic: &str, partition: Partition) -> Result<Sequence, StoreError> {
        let (_, end) = self.0.fetch_watermarks(topic, number(partition), PATIENCE).map_err(of_question)?;
        let end = u64::try_from(end).map_err(|error| StoreError::new(ErrorKind::Unavailable, error))?;
        Ok(Sequence(end + 1))
    }
}
