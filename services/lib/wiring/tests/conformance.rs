//! The conformance suite over the adapters of a grid: a real Kafka and Redis, taken over through the real consumer
//! group, and with Redis lost in every next life.

#![expect(clippy::unwrap_used, reason = "a fault of the servers is the failure of the test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_log_kafka::{KafkaAssignments, KafkaChangelog, KafkaLog, Topics, topics};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Assignment, Assignments, EventLog, Share, StoreError};
use pushgrid_store_changelog::{
    Deps, Health, PartitionGauges, PartitionStore, Receipts, SpareClaim, TakenOver, Tuning, take_over,
};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::conformance::{self, Life, Parts};
use pushgrid_store_redis::{Redis, RedisView};
use pushgrid_types::{ManualClock, Message, Rng, Sequence, SystemRng, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Deadline beyond any expected duration on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// Stores of one check, over all lives.
#[derive(Debug)]
struct World {
    kafka: pushgrid_log_kafka::Config,
    topics: Topics,
    log: Arc<KafkaLog>,
    prefix: String,
    /// Number of lives. Each has a key prefix of its own in Redis, as if all of Redis was lost in between.
    lives: u64,
    last: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Present {
    world: World,
    store: Arc<PartitionStore>,
    member: Member,
}

/// Only member of the consumer group.
#[derive(Debug)]
struct Member {
    leave: mpsc::Sender<()>,
    left: JoinHandle<()>,
}

/// Log whose append returns once the partition has read the message: the suite settles and stores messages that it was
/// never handed.
#[derive(Debug)]
struct ReadLog {
    log: Arc<KafkaLog>,
    store: Weak<PartitionStore>,
    last: Arc<AtomicU64>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: `deploy/local/servers up` starts what this test needs, and `deploy/local/servers env` prints it")
    })
}

fn settings(overrides: &[String]) -> Reader {
    Reader::new(Layers::load(None, std::iter::empty(), overrides).unwrap())
}

async fn redis(prefix: &str) -> Redis {
    let url = format!("redis.url={}", variable("PUSHGRID_REDIS__URL"));
    let mut reader = settings(&[url, format!("redis.prefix={prefix}")]);
    let config = pushgrid_store_redis::Config::read(&mut reader);
    reader.finish().unwrap();
    Redis::connect(&config, &Meter::new()).await.unwrap()
}

/// Joins the group, and waits for the one partition.
async fn join(kafka: &pushgrid_log_kafka::Config, topics: &Topics) -> (Share, Member) {
    let mut assignments = KafkaAssignments::join(kafka, topics, &Meter::new()).unwrap();
    let (leave, mut leaving) = mpsc::channel(1);
    let (gained, mut shares) = mpsc::channel(1);
    let left = tokio::spawn(async move {
        loop {
            tokio::select! {
                event = assignments.next() => match event.unwrap() {
                    // Assigned again after its reader was dropped: not wanted.
                    Some(Assignment::Gained(share)) => drop(gained.try_send(share)),
                    Some(Assignment::Lost { .. }) => {}
                    None => return,
                },
                Some(()) = leaving.recv() => assignments.leave(),
            }
        }
    });
    let share = timeout(LONG, shares.recv()).await.unwrap().unwrap();
    (share, Member { leave, left })
}

impl World {
    async fn new() -> Self {
        let mut octets = [0; 8];
        SystemRng.fill(&mut octets);
        let prefix = format!("conformance-{:016x}", u64::from_le_bytes(octets));
        let brokers = format!("kafka.brokers={}", variable("PUSHGRID_KAFKA__BROKERS"));
        let overrides = [brokers, format!("kafka.topic_prefix={prefix}"), "kafka.partitions=1".to_owned()];
        let mut reader = settings(&overrides);
        let kafka = pushgrid_log_kafka::Config::read(&mut reader);
        reader.finish().unwrap();
        let topics = topics::ensure(&kafka).await.unwrap();
        let log = Arc::new(KafkaLog::open(&kafka, &topics, &Meter::new()).unwrap());
        Self { kafka, topics, log, prefix, lives: 0, last: Arc::default() }
    }

    async fn open(mut self) -> Parts {
        self.lives += 1;
        let redis = redis(&format!("{}:{}", &self.prefix[12..], self.lives)).await;
        let changelog =
            KafkaChangelog::open(&self.kafka, &self.topics, Arc::new(SystemRng), &Meter::new()).unwrap();
        let (share, member) = join(&self.kafka, &self.topics).await;
        let now = Timestamp::from_secs(1_700_000_000);
        let (ends, feed) = ToldEnds::new(now);
        let clock = Arc::new(ManualClock::at(now));
        let receipts = Receipts { log: self.log.clone(), clock };
        let deps = Deps {
            share,
            changelog: Arc::new(changelog),
            view: Arc::new(RedisView::new(redis)),
            ends: Some(feed),
            receipts: Some(receipts),
            health: watch::channel(Health::default()).0,
            spare: SpareClaim::default(),
            gauges: PartitionGauges::default(),
            tuning: Tuning::default(),
        };
        let TakenOver { consumer, store, ledger, .. } =
            timeout(LONG, take_over(deps)).await.unwrap().unwrap();
        let log = ReadLog { log: self.log.clone(), store: Arc::downgrade(&store), last: self.last.clone() };
        Parts {
            log: Arc::new(log),
            consumer,
            mailbox: store.clone(),
            subscriptions: store.clone(),
            ledger,
            ends,
            now,
            life: Box::new(Present { world: self, store, member }),
        }
    }
}

async fn until_read(store: &PartitionStore, sequence: Sequence) {
    let read = async {
        while store.read_to() <= sequence {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, read).await.expect("what is in the log is read");
}

#[async_trait]
impl EventLog for ReadLog {
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let sequence = self.log.append(message).await?;
        self.last.fetch_max(sequence.0, Ordering::Relaxed);
        until_read(&self.store.upgrade().unwrap(), sequence).await;
        Ok(sequence)
    }
}

#[async_trait]
impl Life for Present {
    async fn rest(&self) {
        until_read(&self.store, Sequence(self.world.last.load(Ordering::Relaxed))).await;
        self.store.flush().await.unwrap();
    }

    async fn reopen(self: Box<Self>) -> Parts {
        let Self { world, store, member } = *self;
        drop(store);
        member.leave.send(()).await.unwrap();
        timeout(LONG, member.left).await.unwrap().unwrap();
        world.open().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_are_kept_over_kafka_and_redis() {
    conformance::run(async || World::new().await.open().await).await;
}
