use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use tokio::sync::Notify;

/// Fetch queue of one partition.
///
/// librdkafka bounds the queue and stops fetching the partition while the queue is full, so no caller has to
/// pause.
pub(crate) struct Feed<C: ConsumerContext> {
    queue: PartitionQueue<C>,
}

impl<C: ConsumerContext> fmt::Debug for Feed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl<C: ConsumerContext> Feed<C> {
    /// Opens the feed of a partition before the partition is assigned. `arrived` is notified when a message
    /// arrives after [`Self::take`] returned `None`.
    pub(crate) fn open(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        arrived: Arc<Notify>,
    ) -> Option<Self> {
        let mut queue = consumer.split_partition_queue(topic, partition)?;
        queue.set_nonempty_callback(move || arrived.notify_one());
        Some(Self { queue })
    }

    /// Next fetched message or error. Does not wait.
    pub(crate) fn take(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.queue.poll(Duration::ZERO)
    }
}
