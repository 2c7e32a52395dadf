//! The group thread: polls librdkafka, tells the router of gained and lost partitions, and answers a
//! rebalance once every revoked partition is given up or its deadline has passed.
//! Invariant: a rebalance is answered by one assignment call, after all hand-overs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pushgrid_store::{Assignment, ErrorKind, Share, StoreError};
use pushgrid_types::Partition;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, oneshot, watch};

use super::Shared;
use super::rest::Rests;
use crate::callbacks::{GroupConsumer, Rebalance};
use crate::failure::is_fatal;
use crate::offsets::KafkaOffsets;
use crate::share::{KafkaReader, ShareState};
use crate::watermarks::Watermarks;

/// Deadline for a router to give a partition up; afterwards commits are refused.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Deadline for the brokers to confirm the departure.
const CLOSE: Duration = Duration::from_secs(10);
/// Longest single poll, and so the longest delay until a wish to leave is seen.
const IDLE: Duration = Duration::from_millis(100);
/// Longest single poll during a hand-over: librdkafka does not wake the poll when the router answers.
const HANDING_OVER: Duration = Duration::from_millis(5);

pub(super) struct Member {
    consumer: Arc<GroupConsumer>,
    watermarks: Arc<Watermarks>,
    shared: Arc<Shared>,
    topic: Arc<str>,
    events: mpsc::Sender<Result<Assignment, StoreError>>,
    joined: watch::Sender<bool>,
    /// Partitions assigned by the group.
    owned: HashSet<i32>,
    /// Backoff of each partition given up by its owner.
    rests: Rests,
    /// Hand-overs in progress.
    hand_overs: HashMap<i32, HandOver>,
    /// Revoked partitions of an unanswered rebalance; answered once none is in `hand_overs`.
    wanted: Option<Vec<i32>>,
    /// Given-up partitions still assigned in librdkafka.
    ended: Vec<i32>,
    /// Partitions in backoff after being given up, with the end of the backoff.
    resting: HashMap<i32, Instant>,
    /// Set once all partitions have been announced as lost, for leaving.
    is_leaving: bool,
    /// Set when the router takes no events any more, or after a fatal error of librdkafka.
    is_abandoned: bool,
}

struct HandOver {
    share: Arc<ShareState>,
    /// `None` once the router has answered.
    done: Option<oneshot::Receiver<()>>,
    deadline: Instant,
}

impl HandOver {
    fn is_over(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            self.share.close();
            return true;
        }
        if let Some(done) = &mut self.done {
            match done.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return false,
                Ok(()) | Err(oneshot::error::TryRecvError::Closed) => self.done = None,
            }
        }
        self.share.close_if_idle()
    }
}

impl Member {
    pub(super) fn new(
        consumer: Arc<GroupConsumer>,
        watermarks: Arc<Watermarks>,
        shared: Arc<Shared>,
        topic: Arc<str>,
        events: mpsc::Sender<Result<Assignment, StoreError>>,
        joined: watch::Sender<bool>,
    ) -> Self {
        Self {
            consumer,
            watermarks,
            shared,
            topic,
            events,
            joined,
            owned: HashSet::new(),
            rests: Rests::default(),
            hand_overs: HashMap::new(),
            wanted: None,
            ended: Vec::new(),
            resting: HashMap::new(),
            is_leaving: false,
            is_abandoned: false,
        }
    }

    pub(super) fn run(mut self) {
        while !self.is_abandoned && !self.has_left() {
            self.poll();
            let rebalances = mem::take(&mut *self.shared.told.rebalances());
            for rebalance in rebalances {
                self.take(rebalance);
            }
            if self.shared.leaving.load(Ordering::Acquire) {
                self.begin_to_leave();
            }
            self.renew();
            self.settle();
            self.show_assigned();
        }
        self.close();
    }

    fn has_left(&self) -> bool {
        self.is_leaving && self.hand_overs.is_empty()
    }

    fn poll(&mut self) {
        let wait = if self.hand_overs.is_empty() { IDLE } else { HANDING_OVER };
        match self.consumer.poll(wait) {
            // Every partition has a queue of its own, split off before assignment, so no message arrives here.
            Some(Ok(_)) => tracing::error!(topic = %self.topic, "a message came the wrong way"),
            Some(Err(error))
                if is_fatal(&error) || matches!(error, KafkaError::MessageConsumptionFatal(_)) =>
            {
                tracing::error!(%error, "the membership in the group of routers has failed for good");
                self.say(Err(StoreError::new(ErrorKind::Closed, error)));
                self.is_abandoned = true;
            }
            // librdkafka logs its own transient errors and retries.
            None | Some(Err(_)) => {}
        }
        self.is_abandoned |= self.events.is_closed();
    }

    fn take(&mut self, rebalance: Rebalance) {
        match rebalance {
            Rebalance::Gained(partitions) => {
                tracing::info!(?partitions, "partitions gained");
                // Answers the rebalance without fetching: a share begins at the offset that its owner seeks to.
                if let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new()) {
                    tracing::error!(%error, "partitions could not be taken");
                }
                self.joined.send_replace(true);
                self.owned.extend(&partitions);
                for number in partitions {
                    self.gain(number);
                }
            }
            Rebalance::Given { partitions, are_lost } => {
                tracing::info!(?partitions, are_lost, "partitions to be given up");
                for number in &partitions {
                    self.owned.remove(number);
                    self.resting.remove(number);
                    self.rests.forget(*number);
                    let share = self.shared.shares().get(number).map(Arc::clone);
                    if let Some(share) = share {
                        if are_lost {
                            share.close();
                        }
                        self.give_up(*number, share);
                    }
                }
                self.wanted.get_or_insert_default().extend(partitions);
            }
        }
    }

    fn gain(&mut self, number: i32) {
        // A hand-over in progress ends first: the share then rests, and is handed out by `renew`.
        if self.is_leaving || self.hand_overs.contains_key(&number) {
            return;
        }
        let Ok(partition) = u16::try_from(number).map(Partition) else { return };
        let share =
            Arc::new(ShareState::new(Arc::clone(&self.topic), partition, Arc::clone(&self.shared.passed)));
        if let Some(old) = self.shared.shares().insert(number, Arc::clone(&share)) {
            old.end_reading();
            old.close();
        }
        self.rests.handed_out(number, Instant::now());
        let consumer = Arc::downgrade(&self.consumer);
        let watermarks = Arc::clone(&self.watermarks);
        let reader = KafkaReader::new(Arc::clone(&share), consumer.clone(), watermarks.clone());
        let reader = Box::new(reader);
        let offsets = Arc::new(KafkaOffsets::new(share, consumer, watermarks));
        self.say(Ok(Assignment::Gained(Share { partition, reader, offsets })));
    }

    /// Announces a share as lost, and starts the deadline for the answer.
    fn give_up(&mut self, number: i32, share: Arc<ShareState>) {
        if self.hand_overs.contains_key(&number) {
            return;
        }
        share.end_reading();
        let (done, answered) = oneshot::channel();
        self.say(Ok(Assignment::Lost { partition: share.partition, done }));
        let deadline = Instant::now() + HAND_OVER;
        self.hand_overs.insert(number, HandOver { share, done: Some(answered), deadline });
    }

    fn begin_to_leave(&mut self) {
        if mem::replace(&mut self.is_leaving, true) {
            return;
        }
        let shares: Vec<_> =
            self.shared.shares().iter().map(|(number, share)| (*number, Arc::clone(share))).collect();
        for (number, share) in shares {
            self.give_up(number, share);
        }
        self.resting.clear();
    }

    /// Takes back shares dropped by their owners, and hands out again those past the backoff.
    fn renew(&mut self) {
        if self.is_leaving {
            return;
        }
        let shares = self.shared.shares();
        let given_up: Vec<_> = shares
            .iter()
            .filter(|(_, share)| share.is_given_up())
            .map(|(number, share)| (*number, Arc::clone(share)))
            .collect();
        drop(shares);
        for (number, share) in given_up {
            self.give_up(number, share);
        }
        let now = Instant::now();
        let rested: Vec<i32> =
            self.resting.extract_if(|_, until| *until <= now).map(|(number, _)| number).collect();
        for number in rested {
            self.gain(number);
        }
    }

    /// Ends completed hand-overs, starts backoffs, and answers the rebalance once nothing revoked is pending.
    fn settle(&mut self) {
        let over: Vec<_> = self.hand_overs.extract_if(|_, hand_over| hand_over.is_over()).collect();
        for (number, HandOver { share, .. }) in over {
            self.shared.shares().remove(&number);
            if share.is_assigned() {
                self.ended.push(number);
            }
            if self.owned.contains(&number) && !self.is_leaving {
                let now = Instant::now();
                self.resting.insert(number, now + self.rests.next(number, now));
            }
        }
        let is_awaited = match &self.wanted {
            // The first assignment call is the answer, so wait until all revoked partitions are given up.
            Some(wanted) if wanted.iter().any(|number| self.hand_overs.contains_key(number)) => return,
            Some(_) => true,
            None => false,
        };
        self.wanted = None;
        if is_awaited || !self.ended.is_empty() {
            let mut ended = TopicPartitionList::new();
            for number in self.ended.drain(..) {
                ended.add_partition(&self.topic, number);
            }
            if let Err(error) = self.consumer.incremental_unassign(&ended) {
                tracing::error!(%error, "partitions could not be given back");
            }
        }
    }

    fn show_assigned(&self) {
        let numbers = self.owned.iter().filter_map(|number| u16::try_from(*number).ok());
        let assigned = if self.is_leaving { BTreeSet::new() } else { numbers.map(Partition).collect() };
        *self.shared.assigned() = assigned;
    }

    fn say(&mut self, event: Result<Assignment, StoreError>) {
        self.is_abandoned |= self.events.blocking_send(event).is_err();
    }

    /// Leaves the group, so that other members get the partitions without waiting for the session time-out.
    fn close(self) {
        for share in self.shared.shares().drain().map(|(_, share)| share) {
            share.end_reading();
            share.close();
        }
        self.shared.told.close();
        let has_unanswered = self.wanted.is_some() || !self.shared.told.rebalances().is_empty();
        if let Err(error) = self.consumer.close_queue() {
            tracing::warn!(%error, "the group of routers could not be left");
        }
        // An unanswered rebalance would hold the close up.
        if has_unanswered && let Err(error) = self.consumer.unassign() {
            tracing::warn!(%error, "partitions could not be given back");
        }
        let deadline = Instant::now() + CLOSE;
        while !self.consumer.closed() && Instant::now() < deadline {
            self.consumer.poll(HANDING_OVER);
        }
        drop(self.events);
    }
}
