use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pushgrid_store::{Assignment, Assignments, StoreError};
use pushgrid_types::{Partition, Sequence};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::{mpsc, watch};

use crate::client::Lines;
use crate::share::ShareState;
use crate::{Config, Failure, Topics};

mod member;

use member::Member;

pub(crate) type GroupConsumer = BaseConsumer<GroupContext>;

/// A router's membership in the group that shares the partitions out.
///
/// A partition whose reader is dropped before it was lost is handed out again a second later: an owner that cannot go
/// on with it drops it, and begins anew.
///
/// Dropped without [`Assignments::leave`], it leaves the group at once, and nobody is asked.
pub struct KafkaAssignments {
    partitions: u16,
    events: mpsc::Receiver<Result<Assignment, StoreError>>,
    watch: GroupWatch,
}

/// How a membership stands, for readiness and gauges. Cheap to clone, and outlives the membership.
#[derive(Clone)]
pub struct GroupWatch {
    shared: Arc<Shared>,
    joined: watch::Receiver<bool>,
}

/// How far behind a partition of this router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Which.
    pub partition: Partition,
    /// The sequence that the next message will have, as far as is known: some seconds old.
    pub end: Sequence,
    /// How many messages before it have not been handed out yet.
    pub messages: u64,
}

/// What the membership, its thread and the callbacks of librdkafka have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    leaving: AtomicBool,
    /// No more is wanted of librdkafka than that it ends.
    closing: AtomicBool,
    /// What is this router's, by the number that librdkafka uses.
    shares: Mutex<HashMap<i32, Arc<ShareState>>>,
    /// Ends of partitions.
    ends: Mutex<HashMap<i32, u64>>,
    rebalances: Mutex<VecDeque<Rebalance>>,
}

/// What librdkafka wants to be answered by an assignment.
#[derive(Debug)]
enum Rebalance {
    Gained(Vec<i32>),
    Given { partitions: Vec<i32>, are_lost: bool },
}

impl fmt::Debug for KafkaAssignments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaAssignments({} partitions)", self.partitions)
    }
}

impl fmt::Debug for GroupWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupWatch(joined: {})", self.is_joined())
    }
}

impl KafkaAssignments {
    /// Begins to join the group. Does not wait for the brokers: [`GroupWatch::joined`] does.
    pub fn join(config: &Config, topics: &Topics) -> Result<Self, Failure> {
        let client = |error: KafkaError| Failure::client(&error);
        let shared = Arc::new(Shared::default());
        let context = GroupContext { shared: Arc::clone(&shared), lines: Lines::default() };
        let consumer: GroupConsumer = config.member().create_with_context(context).map_err(client)?;
        consumer.subscribe(&[&topics.accepted]).map_err(client)?;
        // A router that takes no events from here stands still, and with it this membership, until the brokers end it.
        let (events, received) = mpsc::channel(usize::from(topics.partitions) * 4 + 8);
        let (joined, is_joined) = watch::channel(false);
        let member = Member::new(
            Arc::new(consumer),
            Arc::clone(&shared),
            topics.accepted.as_str().into(),
            events,
            joined,
        );
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || member.run())
            .map_err(|error| Failure::Client(error.to_string()))?;
        let watch = GroupWatch { shared, joined: is_joined };
        Ok(Self { partitions: topics.partitions, events: received, watch })
    }

    /// How it stands.
    pub fn watch(&self) -> GroupWatch {
        self.watch.clone()
    }
}

impl Drop for KafkaAssignments {
    fn drop(&mut self) {
        // The thread finds that nobody takes its events.
        self.leave();
    }
}

#[async_trait]
impl Assignments for KafkaAssignments {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn next(&mut self) -> Result<Option<Assignment>, StoreError> {
        self.events.recv().await.transpose()
    }

    fn leave(&self) {
        self.watch.shared.leaving.store(true, Ordering::Release);
    }
}

impl GroupWatch {
    /// Whether the group has given this router its share, which may be nothing.
    pub fn is_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Waits until [`Self::is_joined`]. Returns `false` when it has left before that.
    pub async fn joined(&self) -> bool {
        self.joined.clone().wait_for(|joined| *joined).await.is_ok()
    }

    /// How far behind each partition of this router is: those that are read, and of which something is known.
    pub fn lags(&self) -> Vec<Lag> {
        let ends = self.shared.ends();
        let lag = |(number, share): (&i32, &Arc<ShareState>)| {
            let (end, read) = (*ends.get(number)?, share.read()?);
            let end = end.max(read);
            Some(Lag { partition: share.partition, end: Sequence(end + 1), messages: end - read })
        };
        self.shared.shares().iter().filter_map(lag).collect()
    }

    /// How many records of the partitions that are this router's now could not be read and were passed over.
    pub fn skipped(&self) -> u64 {
        self.shared.shares().values().map(|share| share.skipped()).sum()
    }
}

impl Shared {
    fn shares(&self) -> MutexGuard<'_, HashMap<i32, Arc<ShareState>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<i32, u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebalances(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka calls, on the thread of the group.
pub(crate) struct GroupContext {
    shared: Arc<Shared>,
    lines: Lines,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.lines.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.shared.ends();
        for (number, partition) in statistics.topics.values().flat_map(|topic| &topic.partitions) {
            if let Ok(end) = u64::try_from(partition.hi_offset) {
                ends.insert(*number, end);
            }
        }
    }
}

impl ConsumerContext for GroupContext {
    /// Only notes what is to be done: [`Member`] answers with an assignment when the router is ready for it, and until
    /// then the group waits.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.shared.closing.load(Ordering::Acquire) {
            // It takes every assignment for an end of all of them.
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
        self.shared.rebalances().push_back(rebalance);
    }
}
