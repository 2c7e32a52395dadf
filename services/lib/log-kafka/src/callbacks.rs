//! Callbacks of librdkafka for the member of the consumer group, and the record of their news for the group
//! thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::client::Lines;

pub(crate) type GroupConsumer = BaseConsumer<GroupContext>;

/// Record of the callbacks, for the group thread.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Set while the consumer closes: rebalances are answered at once.
    closing: AtomicBool,
    /// End offsets of partitions, from statistics.
    ends: Mutex<HashMap<i32, u64>>,
    rebalances: Mutex<VecDeque<Rebalance>>,
}

/// Rebalance for which librdkafka expects an assignment call.
#[derive(Debug)]
pub(crate) enum Rebalance {
    Gained(Vec<i32>),
    Given { partitions: Vec<i32>, are_lost: bool },
}

impl Told {
    /// Has rebalances answered at once from now on, because the consumer closes.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn ends(&self) -> MutexGuard<'_, HashMap<i32, u64>> {
        self.ends.lock()
    }

    /// Rebalances without an answer.
    pub(crate) fn rebalances(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances.lock()
    }
}

/// Callbacks of librdkafka, run on the group thread.
pub(crate) struct GroupContext {
    told: Arc<Told>,
    lines: Lines,
}

impl GroupContext {
    pub(crate) fn new(told: Arc<Told>) -> Self {
        Self { told, lines: Lines::default() }
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.lines.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.told.ends();
        for (number, partition) in statistics.topics.values().flat_map(|topic| &topic.partitions) {
            if let Ok(end) = u64::try_from(partition.hi_offset) {
                ends.insert(*number, end);
            }
        }
    }
}

impl ConsumerContext for GroupContext {
    /// Queues the rebalance. The group thread answers with an assignment call once the router is ready; the
    /// group waits until then.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.told.is_closing() {
            // librdkafka takes any assignment call for the answer; this one ends all partitions.
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "partitions could not be given back");
            }
            return;
        }
        let partitions = list.elements().iter().map(TopicPartitionListElem::partition).collect();
        let rebalance = match RDKafkaErrorCode::from(what) {
            RDKafkaErrorCode::AssignPartitions => Rebalance::Gained(partitions),
            _ => Rebalance::Given { partitions, are_lost: consumer.assignment_lost() },
        };
        self.told.rebalances().push_back(rebalance);
    }
}
