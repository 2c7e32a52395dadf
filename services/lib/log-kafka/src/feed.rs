use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use tokio::sync::Notify;

/// What librdkafka has fetched of one partition.
///
/// librdkafka bounds it, and stops fetching the partition while it is full: nobody has to pause it.
pub(crate) struct Feed<C: ConsumerContext> {
    queue: PartitionQueue<C>,
}

impl<C: ConsumerContext> fmt::Debug for Feed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl<C: ConsumerContext> Feed<C> {
    /// The feed of a partition that is about to be assigned. `arrived` is told when there is something again after
    /// [`Self::take`] found nothing.
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

    /// The next message or error that is there. Does not wait.
    pub(crate) fn take(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.queue.poll(Duration::ZERO)
    }
}
