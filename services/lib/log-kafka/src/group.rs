//! Membership in the consumer group of routers.
//! Invariant: a rebalance with revoked partitions is answered only after the router gave them up or the
//! deadline passed, unless the membership is closing. The answering thread is `member`, the callbacks of
//! librdkafka are in `callbacks`; a partition in the hands of this router is `share`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_runtime::metrics::{Meter, ROUTER_LAG, level};
use pushgrid_store::{Assignment, Assignments, StoreError};
use pushgrid_types::{Partition, Sequence};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, watch};

use crate::callbacks::{GroupConsumer, GroupContext, Told};
use crate::passed::Passed;
use crate::share::ShareState;
use crate::watermarks::Watermarks;
use crate::{Config, Failure, Topics};

mod member;
mod rest;

use member::Member;

/// Membership of a router in the consumer group, by which partitions are assigned.
///
/// A partition whose reader is dropped before the partition was lost is assigned again a second later, so
/// that a failed owner starts afresh. Repeated drops back off exponentially, up to half a minute.
///
/// Dropping without [`Assignments::leave`] leaves the group at once, without a hand-over.
pub struct KafkaAssignments {
    partitions: u16,
    events: mpsc::Receiver<Result<Assignment, StoreError>>,
    watch: GroupWatch,
}

/// State of a membership, for readiness and gauges. Cheap to clone; outlives the membership.
#[derive(Clone)]
pub struct GroupWatch {
    shared: Arc<Shared>,
    joined: watch::Receiver<bool>,
}

/// Consumer lag of one partition of this router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: Partition,
    /// Sequence of the next accepted message, as known some seconds ago.
    pub end: Sequence,
    /// Messages before `end` not handed out yet.
    pub messages: u64,
}

/// State shared by the membership and the group thread.
#[derive(Debug)]
struct Shared {
    leaving: AtomicBool,
    /// News from librdkafka.
    told: Arc<Told>,
    /// Partitions of this router, by librdkafka's number.
    shares: Mutex<HashMap<i32, Arc<ShareState>>>,
    /// Partitions assigned by the group, usable or not.
    assigned: Mutex<BTreeSet<Partition>>,
    /// Counter of unreadable records.
    passed: Arc<Passed>,
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
    /// Starts to join the group, and shows the consumer lag and unreadable records in `meter`. Does not wait
    /// for the brokers; [`GroupWatch::joined`] does.
    pub fn join(config: &Config, topics: &Topics, meter: &Meter) -> Result<Self, Failure> {
        let client = |error: KafkaError| Failure::client(&error);
        let shared = Arc::new(Shared::new(Passed::new(&topics.accepted, meter, "accepted")));
        let watermarks = Watermarks::new(config).map_err(client)?;
        let context = GroupContext::new(Arc::clone(&shared.told));
        let consumer: GroupConsumer = config.member().create_with_context(context).map_err(client)?;
        consumer.subscribe(&[&topics.accepted]).map_err(client)?;
        // A router that takes no events blocks the group thread, and the brokers end the membership.
        let (events, received) = mpsc::channel(usize::from(topics.partitions) * 4 + 8);
        let (joined, is_joined) = watch::channel(false);
        let member = Member::new(
            Arc::new(consumer),
            Arc::new(watermarks),
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
        watch.show_lag(meter);
        Ok(Self { partitions: topics.partitions, events: received, watch })
    }

    /// Returns a watch of the membership.
    pub fn watch(&self) -> GroupWatch {
        self.watch.clone()
    }
}

impl Drop for KafkaAssignments {
    fn drop(&mut self) {
        // Nobody takes events any more: the group thread sees the closed channel.
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
    /// True once the group has assigned this router a share, possibly an empty one.
    pub fn is_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Waits until [`Self::is_joined`]. Returns `false` when the membership ended before.
    pub async fn joined(&self) -> bool {
        self.joined.clone().wait_for(|joined| *joined).await.is_ok()
    }

    /// Consumer lag of each partition being read, if the end is known.
    pub fn lags(&self) -> Vec<Lag> {
        let ends = self.shared.told.ends();
        let lag = |(number, share): (&i32, &Arc<ShareState>)| {
            let (end, read) = (*ends.get(number)?, share.read()?);
            let end = end.max(read);
            Some(Lag { partition: share.partition, end: Sequence(end + 1), messages: end - read })
        };
        self.shared.shares().iter().filter_map(lag).collect()
    }

    fn show_lag(&self, meter: &Meter) {
        let (lag, watch) = (meter.gauge(&ROUTER_LAG, &[]), self.clone());
        meter.on_scrape(move || lag.set(level(watch.lags().iter().map(|lag| lag.messages).sum::<u64>())));
    }

    /// Partitions assigned to this router by the group, with those in backoff after a drop by the owner.
    pub fn assigned(&self) -> BTreeSet<Partition> {
        self.shared.assigned().clone()
    }
}

impl Shared {
    fn new(passed: Passed) -> Self {
        Self {
            leaving: AtomicBool::new(false),
            told: Arc::default(),
            shares: Mutex::default(),
            assigned: Mutex::default(),
            passed: Arc::new(passed),
        }
    }

    fn assigned(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.assigned.lock()
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<i32, Arc<ShareState>>> {
        self.shares.lock()
    }
}
