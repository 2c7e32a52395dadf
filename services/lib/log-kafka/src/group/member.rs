//! The thread of the group: it polls librdkafka, and answers it when the router has answered.

use std::collections::{HashMap, HashSet};
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

use super::{GroupConsumer, Rebalance, Shared};
use crate::failure::is_fatal;
use crate::offsets::KafkaOffsets;
use crate::share::{KafkaReader, ShareState};

/// How long a router may take to give a partition up. After that it is taken away.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long a share that was given up by its owner rests before it is handed out again.
const REST: Duration = Duration::from_secs(1);
/// How long the brokers may take to see this router leave.
const CLOSE: Duration = Duration::from_secs(10);
/// How long librdkafka is waited for at a time: also the longest time until a wish to leave is seen.
const IDLE: Duration = Duration::from_millis(100);
/// The same while partitions are being given up: what says that they are is not seen by librdkafka.
const HANDING_OVER: Duration = Duration::from_millis(5);

pub(super) struct Member {
    consumer: Arc<GroupConsumer>,
    shared: Arc<Shared>,
    topic: Arc<str>,
    events: mpsc::Sender<Result<Assignment, StoreError>>,
    joined: watch::Sender<bool>,
    /// What the group has given to this router.
    owned: HashSet<i32>,
    /// What is being given up.
    hand_overs: HashMap<i32, HandOver>,
    /// What the group waits for: librdkafka is told when none of it is being given up any more.
    wanted: Option<Vec<i32>>,
    /// What is given up, and still assigned in librdkafka.
    ended: Vec<i32>,
    /// What rests after its owner has given it up, and until when.
    resting: HashMap<i32, Instant>,
    /// Whether all partitions have been said to be lost, to leave.
    is_leaving: bool,
    /// Nobody takes events, or librdkafka has failed.
    is_abandoned: bool,
}

struct HandOver {
    share: Arc<ShareState>,
    /// `None` when the router has answered.
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
        shared: Arc<Shared>,
        topic: Arc<str>,
        events: mpsc::Sender<Result<Assignment, StoreError>>,
        joined: watch::Sender<bool>,
    ) -> Self {
        Self {
            consumer,
            shared,
            topic,
            events,
            joined,
            owned: HashSet::new(),
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
            let rebalances = mem::take(&mut *self.shared.rebalances());
            for rebalance in rebalances {
                self.take(rebalance);
            }
            if self.shared.leaving.load(Ordering::Acquire) {
                self.begin_to_leave();
            }
            self.renew();
            self.settle();
        }
        self.close();
    }

    fn has_left(&self) -> bool {
        self.is_leaving && self.hand_overs.is_empty()
    }

    fn poll(&mut self) {
        let wait = if self.hand_overs.is_empty() { IDLE } else { HANDING_OVER };
        match self.consumer.poll(wait) {
            // Every partition has a queue of its own, made before it was assigned.
            Some(Ok(_)) => tracing::error!(topic = %self.topic, "a message came the wrong way"),
            Some(Err(error))
                if is_fatal(&error) || matches!(error, KafkaError::MessageConsumptionFatal(_)) =>
            {
                tracing::error!(%error, "the membership in the group of routers has failed for good");
                self.say(Err(StoreError::new(ErrorKind::Closed, error)));
                self.is_abandoned = true;
            }
            // librdkafka says what it has to say in the log, and goes on by itself.
            None | Some(Err(_)) => {}
        }
        self.is_abandoned |= self.events.is_closed();
    }

    fn take(&mut self, rebalance: Rebalance) {
        match rebalance {
            Rebalance::Gained(partitions) => {
                tracing::info!(?partitions, "partitions gained");
                // Nothing is fetched yet: each begins where its owner says.
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
        if self.is_leaving || self.hand_overs.contains_key(&number) {
            return;
        }
        let Ok(partition) = u16::try_from(number).map(Partition) else { return };
        let share = Arc::new(ShareState::new(Arc::clone(&self.topic), partition));
        if let Some(old) = self.shared.shares().insert(number, Arc::clone(&share)) {
            old.end_reading();
            old.close();
        }
        let consumer = Arc::downgrade(&self.consumer);
        let reader = Box::new(KafkaReader::new(Arc::clone(&share), consumer.clone()));
        let offsets = Arc::new(KafkaOffsets::new(share, consumer));
        self.say(Ok(Assignment::Gained(Share { partition, reader, offsets })));
    }

    /// Says that a share is lost, and waits for the answer from now on.
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

    /// Takes back what its owner cannot go on with, and hands out again what has rested.
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

    /// Ends what has been given up, and tells librdkafka.
    fn settle(&mut self) {
        let over: Vec<_> = self.hand_overs.extract_if(|_, hand_over| hand_over.is_over()).collect();
        for (number, HandOver { share, .. }) in over {
            self.shared.shares().remove(&number);
            if share.is_assigned() {
                self.ended.push(number);
            }
            if self.owned.contains(&number) && !self.is_leaving {
                self.resting.insert(number, Instant::now() + REST);
            }
        }
        let is_awaited = match &self.wanted {
            // The group takes the first of these calls for the answer: nothing is said before all of it is.
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

    fn say(&mut self, event: Result<Assignment, StoreError>) {
        self.is_abandoned |= self.events.blocking_send(event).is_err();
    }

    /// Leaves the group, so that others have the partitions at once.
    fn close(self) {
        for share in self.shared.shares().drain().map(|(_, share)| share) {
            share.end_reading();
            share.close();
        }
        self.shared.closing.store(true, Ordering::Release);
        let has_unanswered = self.wanted.is_some() || !self.shared.rebalances().is_empty();
        if let Err(error) = self.consumer.close_queue() {
            tracing::warn!(%error, "the group of routers could not be left");
        }
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
