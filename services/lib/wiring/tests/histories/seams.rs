//! [`Mailbox`](pushgrid_store::Mailbox) and [`Subscriptions`](pushgrid_store::Subscriptions): the model, `SQLite`, and
//! a changelog with Redis as its view.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use pushgrid_store::{
    End, EventLog, Ledger, LogConsumer, Mailbox, PageLimit, PageStart, StoreError, Subscription,
    Subscriptions,
};
use pushgrid_store_changelog::{
    Deps, Health, PartitionGauges, PartitionStore, SpareClaim, Tuning, take_over,
};
use pushgrid_store_embedded::{Embedded, EmbeddedConfig};
use pushgrid_store_model::conformance::ends::ToldEnds;
use pushgrid_store_model::memory::{Memory, MemoryChangelog, MemoryPartitionLog};
use pushgrid_store_redis::RedisView;
use pushgrid_types::{Message, MessageId, Outcome, Partition, Restriction, Sequence, Timestamp, Urgency};
use tempfile::TempDir;
use tokio::sync::watch;

use super::support::{
    BODIES, LIVES, NOW, channel, message, play, random, redis, subscription, topic, user_agent,
};

const USER_AGENTS: u8 = 2;
const CHANNELS: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    /// Subscribes a channel, anew or as it is, expecting the present subscription, none, or another.
    Put {
        of: u8,
        on: u8,
        life: u8,
        expected: u8,
    },
    Remove {
        of: u8,
        on: u8,
    },
    Accept {
        of: u8,
        on: u8,
        life: u8,
        topic: u8,
        octets: usize,
        life_time: u32,
    },
    /// Stores the next messages of the log, or messages stored before, in any order.
    Store {
        which: Vec<Index>,
        again: bool,
    },
    SettleLogged {
        which: Index,
        outcome: usize,
    },
    Settle {
        of: u8,
        which: Vec<Index>,
        outcome: usize,
    },
    Expire {
        seconds: u64,
    },
    Page {
        of: u8,
        /// A place for each urgency.
        after: [Index; 4],
        min_urgency: usize,
        messages: usize,
        octets: usize,
    },
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let (of, on) = (0..USER_AGENTS, 0..CHANNELS);
    let who = (of.clone(), on);
    let outcomes = 0..Outcome::ALL.len();
    let some = |most| prop::collection::vec(any::<Index>(), 1..most);
    let octets = prop_oneof![Just(0_usize), Just(1), 1..9000_usize, Just(usize::MAX)];
    prop_oneof![
        4 => (who.clone(), 0..3_u8, 0..4_u8)
            .prop_map(|((of, on), life, expected)| Step::Put { of, on, life, expected }),
        2 => who.clone().prop_map(|(of, on)| Step::Remove { of, on }),
        8 => (who, 0..9_u8, 0..3_u8, 0..BODIES.len(), 0..LIVES.len()).prop_map(
            |((of, on), life, topic, octets, life_time)| Step::Accept {
                of, on, life, topic, octets: BODIES[octets], life_time: LIVES[life_time],
            }
        ),
        6 => (some(6), prop::bool::weighted(0.1)).prop_map(|(which, again)| Step::Store { which, again }),
        1 => (any::<Index>(), outcomes.clone())
            .prop_map(|(which, outcome)| Step::SettleLogged { which, outcome }),
        5 => (of.clone(), some(4), outcomes)
            .prop_map(|(of, which, outcome)| Step::Settle { of, which, outcome }),
        1 => prop_oneof![Just(0_u64), Just(1), Just(61), Just(90_000)]
            .prop_map(|seconds| Step::Expire { seconds }),
        3 => (of, any::<[Index; 4]>(), 0..4_usize, 0..6_usize, octets).prop_map(
            |(of, after, min_urgency, messages, octets)| Step::Page { of, after, min_urgency, messages, octets }
        ),
        2 => Just(Step::Look),
    ]
}

/// One store, driven as a router does.
struct Store {
    log: Arc<dyn EventLog>,
    consumer: Box<dyn LogConsumer>,
    mailbox: Arc<dyn Mailbox>,
    subscriptions: Arc<dyn Subscriptions>,
    ledger: Arc<Ledger>,
    ends: Arc<ToldEnds>,
    kind: Kind,
}

/// Way to wait until all changes are written.
enum Kind {
    Model,
    Sqlite(Embedded),
    Grid(Arc<PartitionStore>),
}

/// Three stores with the same history.
struct World {
    stores: Vec<Store>,
    /// Accepted messages in the log.
    logged: Vec<Message>,
    /// Messages that were stored, ended or not.
    moved: Vec<Message>,
    labels: u64,
    /// Incarnations so far: each is used once, and no message is older than its own.
    lives: u8,
    now: Timestamp,
}

impl Store {
    fn model() -> Self {
        let (ends, feed) = ToldEnds::new(NOW);
        let memory = Memory::telling(feed);
        Self {
            log: Arc::new(memory.log()),
            consumer: Box::new(memory.consumer()),
            mailbox: Arc::new(memory.mailbox()),
            subscriptions: Arc::new(memory.subscriptions()),
            ledger: memory.ledger(),
            ends,
            kind: Kind::Model,
        }
    }

    fn sqlite(directory: &TempDir) -> Self {
        let (ends, feed) = ToldEnds::new(NOW);
        let config = EmbeddedConfig { ends: Some(feed), ..EmbeddedConfig::at(directory.path()) };
        let store = Embedded::open(&config).unwrap();
        Self {
            log: Arc::new(store.clone()),
            consumer: Box::new(store.consumer().unwrap()),
            mailbox: Arc::new(store.clone()),
            subscriptions: Arc::new(store.clone()),
            ledger: store.ledger(),
            ends,
            kind: Kind::Sqlite(store),
        }
    }

    async fn grid(view: RedisView, partition: Partition) -> Self {
        let log = MemoryPartitionLog::new(partition);
        let (ends, feed) = ToldEnds::new(NOW);
        let deps = Deps {
            share: log.share(),
            changelog: Arc::new(MemoryChangelog::new()),
            view: Arc::new(view),
            ends: Some(feed),
            receipts: None,
            health: watch::channel(Health::default()).0,
            spare: SpareClaim::default(),
            gauges: PartitionGauges::default(),
            tuning: Tuning { batch: 3, cycle: 5, ..Tuning::default() },
        };
        let state = take_over(deps).await.unwrap();
        Self {
            log: Arc::new(log),
            consumer: state.consumer,
            mailbox: state.store.clone(),
            subscriptions: state.store.clone(),
            ledger: state.ledger,
            ends,
            kind: Kind::Grid(state.store),
        }
    }

    async fn rest(&self) {
        match &self.kind {
            Kind::Model => {}
            Kind::Sqlite(store) => store.flush().await.unwrap(),
            Kind::Grid(store) => store.flush().await.unwrap(),
        }
    }
}

fn shown<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    format!("{:?}", answer.map_err(|error| error.kind))
}

/// All ends that a store has told, by their messages.
fn told(store: &Store) -> Vec<End> {
    let mut ends: Vec<_> = store.ends.all().into_iter().map(|(_, end)| end).collect();
    ends.sort_unstable_by_key(|end| (end.user_agent, end.sequence));
    ends
}

impl World {
    /// Asks all stores, which must give the same answer.
    async fn same(&self, what: &str, ask: impl AsyncFn(&Store) -> String) -> String {
        let mut answers = Vec::new();
        for store in &self.stores {
            answers.push(ask(store).await);
        }
        assert_eq!(answers[1], answers[0], "{what}: SQLite and the model");
        assert_eq!(answers[2], answers[0], "{what}: changelog and Redis, and the model");
        answers.swap_remove(0)
    }

    async fn rest(&self) {
        for store in &self.stores {
            store.rest().await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { of, on, life, expected } => self.put(of, on, life, expected).await,
            Step::Remove { of, on } => self.remove(of, on).await,
            Step::Accept { of, on, life, topic: number, octets, life_time } => {
                self.labels += 1;
                let there = self.stores[0].subscriptions.find(user_agent(of), channel(on)).await.unwrap();
                let present = there.filter(|_| life > 2).map(|there| there.id);
                let to = present.unwrap_or(subscription(of, on, self.lives.saturating_sub(life)));
                let accepted = Message {
                    accepted_at: self.now,
                    ..message(to, self.labels, topic(number), octets, life_time)
                };
                self.accept(accepted).await;
            }
            Step::Store { which, again } => self.store(&which, again).await,
            Step::SettleLogged { which, outcome } if !self.logged.is_empty() => {
                let message = self.logged.remove(which.index(self.logged.len()));
                for store in &self.stores {
                    store.consumer.settle(vec![End::of(&message, Outcome::ALL[outcome])]);
                }
            }
            Step::SettleLogged { .. } => {}
            Step::Settle { of, which, outcome } => self.settle(of, &which, Outcome::ALL[outcome]).await,
            Step::Expire { seconds } => {
                self.now = self.now.plus(Duration::from_secs(seconds));
                self.same("expire", async |store| shown(store.mailbox.expire(self.now, 10_000).await)).await;
            }
            Step::Page { of, after, min_urgency, messages, octets } => {
                let labels = usize::try_from(self.labels).unwrap() + 2;
                let after = after.map(|after| Sequence(after.index(labels) as u64));
                let start = PageStart { min_urgency: Urgency::ALL[min_urgency], after };
                let limit = PageLimit { messages, octets };
                self.rest().await;
                let page = async |store: &Store| {
                    shown(
                        store
                            .mailbox
                            .page(user_agent(of), start, self.now, limit)
                            .await
                            .map(|page| page.messages),
                    )
                };
                self.same("page", page).await;
            }
            Step::Look => self.look().await,
        }
    }

    async fn put(&mut self, of: u8, on: u8, life: u8, expected: u8) {
        let there = self.stores[0].subscriptions.find(user_agent(of), channel(on)).await.unwrap();
        let expected = match expected {
            0 => None,
            1 => Some(subscription(of, on, life)),
            _ => there.clone().map(|there| there.id),
        };
        self.lives += 1;
        let again = there.filter(|_| life == 0).map(|there| there.id);
        let id = again.unwrap_or(subscription(of, on, self.lives));
        let new = Subscription {
            id,
            restriction: Restriction::Open,
            seen_at: self.now,
            is_noted: true,
            webhook: None,
        };
        self.same("put", async |store| shown(store.subscriptions.put(expected, new.clone()).await)).await;
    }

    async fn remove(&self, of: u8, on: u8) {
        let remove =
            async |store: &Store| shown(store.subscriptions.remove(user_agent(of), channel(on)).await);
        self.same("remove", remove).await;
    }

    /// Accepts a message in all logs, which must give the same sequence; each router reads it.
    async fn accept(&mut self, message: Message) {
        let mut sequences = Vec::new();
        for store in &mut self.stores {
            let sequence = store.log.append(message.clone()).await.unwrap();
            let read = store.consumer.next(1).await.unwrap();
            assert_eq!(read.iter().map(|it| it.sequence).collect::<Vec<_>>(), [sequence]);
            sequences.push(sequence);
        }
        assert!(sequences.iter().all(|it| *it == sequences[0]), "{sequences:?}");
        self.logged.push(Message { sequence: sequences[0], ..message });
    }

    async fn store(&mut self, which: &[Index], again: bool) {
        let mut batch = Vec::new();
        for index in which {
            if again && !self.moved.is_empty() {
                batch.push(Arc::new(index.get(&self.moved).clone()));
            } else if !self.logged.is_empty() {
                let message = self.logged.remove(index.index(self.logged.len()));
                self.moved.push(message.clone());
                batch.push(Arc::new(message));
            }
        }
        self.same("store", async |store| shown(store.mailbox.store(batch.clone()).await)).await;
    }

    async fn settle(&self, of: u8, which: &[Index], outcome: Outcome) {
        let ids: Vec<MessageId> = self.moved.iter().chain(&self.logged).map(|message| message.id).collect();
        if ids.is_empty() {
            return;
        }
        let ended: Vec<_> = which.iter().map(|index| (*index.get(&ids), outcome)).collect();
        let settle = async |store: &Store| shown(store.mailbox.settle(user_agent(of), ended.clone()).await);
        self.same("settle", settle).await;
    }

    async fn look(&self) {
        self.rest().await;
        for of in 0..USER_AGENTS {
            let who = user_agent(of);
            self.same("count", async |store| shown(store.subscriptions.count(who).await)).await;
            self.same("usage", async |store| shown(store.mailbox.usage(who).await)).await;
            for on in 0..CHANNELS {
                let find = async |store: &Store| shown(store.subscriptions.find(who, channel(on)).await);
                self.same("find", find).await;
            }
            let lives = 0..CHANNELS * (self.lives + 1);
            let lives: Vec<_> =
                lives.map(|number| subscription(of, number % CHANNELS, number / CHANNELS)).collect();
            self.same("alive", async |store| shown(store.subscriptions.alive(&lives).await)).await;
        }
        let account = self.same("account", async |store| format!("{:?}", store.ledger.snapshot())).await;
        let snapshot = self.stores[0].ledger.snapshot();
        assert!(snapshot.adds_up(), "{account}");
        self.same("ends", async |store| format!("{:?}", told(store))).await;
        assert_eq!(u64::try_from(told(&self.stores[0]).len()).unwrap(), snapshot.ended_total());
    }
}

#[test]
fn every_store_answers_as_the_model_does() {
    let run = random();
    let (number, open) = (Cell::new(0_u32), Cell::new(None));
    // A disk is not what is tested.
    let memory = std::path::Path::new("/dev/shm");
    play(30, &prop::collection::vec(step(), 1..60), async |steps| {
        let partition = Partition(u16::try_from(number.get() % 50_000).unwrap());
        if partition.0 == 0 {
            let prefix = format!("seams-{run:016x}-{}", number.get() / 50_000);
            open.set(Some(RedisView::new(redis(&prefix).await)));
        }
        number.set(number.get() + 1);
        let view = open.take().unwrap();
        open.set(Some(view.clone()));
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let stores = vec![Store::model(), Store::sqlite(&directory), Store::grid(view, partition).await];
        let mut world =
            World { stores, logged: Vec::new(), moved: Vec::new(), labels: 0, lives: 0, now: NOW };
        for step in steps {
            world.step(step).await;
        }
        world.look().await;
        for of in 0..USER_AGENTS {
            for on in 0..CHANNELS {
                world.step(Step::Remove { of, on }).await;
            }
        }
        world.look().await;
    });
}
