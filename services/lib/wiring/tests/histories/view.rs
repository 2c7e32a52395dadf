//! [`View`]: the model and Redis.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use proptest::prelude::*;
use proptest::sample::Index;
use pushgrid_store::{
    Change, PageLimit, PageStart, ReadBarrier, StoredMessage, Subscription, View, ViewError,
};
use pushgrid_store_model::memory::MemoryView;
use pushgrid_store_redis::RedisView;
use pushgrid_types::{
    LeaderEpoch, Message, Outcome, Partition, Position, Restriction, Sequence, SubscriptionRef, Timestamp,
    Urgency,
};

use super::support::{
    BODIES, LIVES, NOW, channel, message, play, random, redis, subscription, topic, user_agent,
};

const USER_AGENTS: u8 = 3;
const CHANNELS: u8 = 2;
const LABELS: u64 = 200;

/// First sequences, positions and leader epochs: near the bounds of the numbers that scripts compare exactly.
const BEGINNINGS: [u64; 4] = [0, (1 << 31) - 50, (1 << 52) - 50, (1 << 53) - 2 - 10_000];

#[derive(Debug, Clone)]
enum Step {
    Subscribe {
        of: u8,
        on: u8,
        life: u8,
    },
    Unsubscribe {
        of: u8,
        on: u8,
        life: u8,
    },
    Store {
        of: u8,
        on: u8,
        life: u8,
        label: u64,
        topic: u8,
        octets: usize,
        life_time: u32,
    },
    /// Ends a message that is or was stored, by the present leader epoch or an earlier one.
    End {
        which: Index,
        outcome: usize,
        late: bool,
    },
    /// Stores a stored message once more, by the present leader epoch.
    Again {
        which: Index,
    },
    /// Applies all pending changes to the views, and compares their answers.
    Tell(Ask),
    /// Repeats the last call.
    Repeat,
    Successor,
    SetAside {
        of: u8,
    },
    Restore {
        of: u8,
        piece: usize,
    },
}

/// Questions beside those of every comparison.
#[derive(Debug, Clone)]
struct Ask {
    after: [u64; 4],
    min_urgency: usize,
    messages: usize,
    octets: usize,
    seconds: u64,
    limit: usize,
}

fn ask() -> impl Strategy<Value = Ask> {
    let limit = prop_oneof![0..5_usize, Just(99), Just(101), Just(usize::MAX)];
    let octets = prop_oneof![Just(0_usize), Just(1), 1..9000_usize, Just(usize::MAX)];
    let seconds = prop_oneof![Just(0_u64), Just(1), Just(59), Just(60), Just(90_000), Just(1 << 42)];
    let place = prop_oneof![Just(0_u64), 0..LABELS, Just(u64::MAX)];
    let after = [place.clone(), place.clone(), place.clone(), place];
    (after, 0..4_usize, limit.clone(), octets, seconds, limit).prop_map(
        |(after, min_urgency, messages, octets, seconds, limit)| Ask {
            after,
            min_urgency,
            messages,
            octets,
            seconds,
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..USER_AGENTS, 0..CHANNELS, 0..2_u8);
    prop_oneof![
        2 => who().prop_map(|(of, on, life)| Step::Subscribe { of, on, life }),
        1 => who().prop_map(|(of, on, life)| Step::Unsubscribe { of, on, life }),
        8 => (who(), 1..LABELS, 0..3_u8, 0..BODIES.len(), 0..LIVES.len()).prop_map(
            |((of, on, life), label, topic, octets, life_time)| Step::Store {
                of, on, life, label, topic, octets: BODIES[octets], life_time: LIVES[life_time],
            }
        ),
        6 => (any::<Index>(), 0..Outcome::ALL.len(), prop::bool::weighted(0.1))
            .prop_map(|(which, outcome, late)| Step::End { which, outcome, late }),
        1 => any::<Index>().prop_map(|which| Step::Again { which }),
        5 => ask().prop_map(Step::Tell),
        1 => Just(Step::Repeat),
        1 => Just(Step::Successor),
        1 => (0..USER_AGENTS).prop_map(|of| Step::SetAside { of }),
        1 => (0..USER_AGENTS, 1..4_usize).prop_map(|(of, piece)| Step::Restore { of, piece }),
    ]
}

/// Content of the changelog, and the changes not applied to the views yet.
struct World {
    views: [Arc<dyn View>; 2],
    barrier: ReadBarrier,
    first: u64,
    subscriptions: BTreeMap<(u8, u8), Subscription>,
    /// Stored messages by label, with the leader epoch that stored each.
    waiting: BTreeMap<u64, (Arc<Message>, LeaderEpoch)>,
    /// Labels of all messages ever stored.
    known: Vec<u64>,
    messages: BTreeMap<u64, (Arc<Message>, LeaderEpoch)>,
    pending: Vec<Change>,
    last: Option<(ReadBarrier, Vec<Change>)>,
}

/// Answer as text, for comparison; in order where the contract promises one.
fn shown<T: std::fmt::Debug>(answer: &Result<T, ViewError>) -> String {
    format!("{answer:?}")
}

fn sorted(answer: Result<Vec<impl std::fmt::Debug>, ViewError>) -> String {
    shown(&answer.map(|all| {
        let mut all: Vec<_> = all.iter().map(|it| format!("{it:?}")).collect();
        all.sort();
        all
    }))
}

impl World {
    async fn new(redis: &RedisView, partition: Partition, first: u64) -> Self {
        let views: [Arc<dyn View>; 2] = [Arc::new(MemoryView::new()), Arc::new(redis.clone())];
        let barrier = ReadBarrier { partition, leader_epoch: LeaderEpoch(first + 1), position: Position(0) };
        let mut world = Self {
            views,
            barrier,
            first,
            subscriptions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            known: Vec::new(),
            messages: BTreeMap::new(),
            pending: Vec::new(),
            last: None,
        };
        world.same(async |view, at| shown(&view.begin(at.partition, at.leader_epoch).await)).await;
        let to = Position(first + 1);
        world.same(async |view, at| shown(&view.apply(at, &[Change::Claimed], to).await)).await;
        world.barrier.position = to;
        world
    }

    /// Asks both views, which must give the same answer.
    async fn same(&self, ask: impl AsyncFn(&dyn View, ReadBarrier) -> String) -> String {
        let model = ask(&*self.views[0], self.barrier).await;
        let redis = ask(&*self.views[1], self.barrier).await;
        assert_eq!(redis, model, "Redis answered the first, the model the second");
        model
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Subscribe { of, on, life } => {
                let made = Subscription {
                    id: subscription(of, on, life),
                    restriction: Restriction::Open,
                    seen_at: NOW,
                    is_noted: true,
                    webhook: None,
                };
                self.subscriptions.insert((of, on), made.clone());
                self.pending.push(Change::Subscribed(made));
            }
            Step::Unsubscribe { of, on, life } => {
                let id = subscription(of, on, life);
                if self.subscriptions.get(&(of, on)).is_some_and(|there| there.id == id) {
                    self.subscriptions.remove(&(of, on));
                }
                self.pending.push(Change::Unsubscribed(id));
            }
            Step::Store { of, on, life, label, topic: number, octets, life_time } => {
                let made = message(subscription(of, on, life), label, topic(number), octets, life_time);
                self.store(label, Message { sequence: Sequence(self.first + label), ..made });
            }
            Step::End { which, outcome, late } => self.end(which, Outcome::ALL[outcome], late),
            Step::Again { which } if !self.waiting.is_empty() => {
                let label = *which.get(&self.waiting.keys().copied().collect::<Vec<_>>());
                let message = Arc::clone(&self.waiting[&label].0);
                self.keep(label, message);
            }
            Step::Again { .. } => {}
            Step::Tell(ask) => {
                self.tell().await;
                self.ask(&ask).await;
            }
            Step::Repeat => self.repeat().await,
            Step::Successor => self.succeed().await,
            Step::SetAside { of } => {
                self.tell().await;
                self.same(async |view, at| shown(&view.set_aside(at, &[user_agent(of)]).await)).await;
            }
            Step::Restore { of, piece } => self.restore(of, piece).await,
        }
    }

    fn keep(&mut self, label: u64, message: Arc<Message>) {
        let since = self.barrier.leader_epoch;
        self.waiting.insert(label, (Arc::clone(&message), since));
        self.messages.insert(label, (Arc::clone(&message), since));
        self.pending.push(Change::Stored { message, since });
    }

    /// Stores as the writer does: once, and in place of the older message of the topic.
    fn store(&mut self, label: u64, message: Message) {
        let rival = self.waiting.iter().find(|(_, (it, _))| {
            (it.to.user_agent, it.to.channel) == (message.to.user_agent, message.to.channel)
                && it.topic.is_some()
                && it.topic == message.topic
        });
        let rival = rival.map(|(label, _)| *label);
        if self.messages.contains_key(&label) || rival.is_some_and(|rival| rival > label) {
            return;
        }
        if let Some(rival) = rival {
            let (older, since) = self.waiting.remove(&rival).unwrap();
            self.pending.push(ended(&older, since, Outcome::Replaced));
        }
        self.known.push(label);
        self.keep(label, Arc::new(message));
    }

    fn end(&mut self, which: Index, outcome: Outcome, late: bool) {
        if self.known.is_empty() {
            return;
        }
        let label = *which.get(&self.known);
        let (message, since) = self.messages[&label].clone();
        let by = if late { LeaderEpoch(since.0 - 1) } else { since };
        if self.waiting.get(&label).is_some_and(|(_, since)| *since <= by) {
            self.waiting.remove(&label);
        }
        self.pending.push(ended(&message, by, outcome));
    }

    async fn tell(&mut self) {
        let changes = std::mem::take(&mut self.pending);
        let to = Position(self.barrier.position.0 + changes.len() as u64);
        self.same(async |view, at| shown(&view.apply(at, &changes, to).await)).await;
        self.last = Some((self.barrier, changes));
        self.barrier.position = to;
    }

    async fn repeat(&mut self) {
        if let Some((before, changes)) = &self.last {
            let (before, to) =
                (ReadBarrier { leader_epoch: self.barrier.leader_epoch, ..*before }, self.barrier.position);
            self.same(async |view, _| shown(&view.apply(before, changes, to).await)).await;
        }
    }

    async fn succeed(&mut self) {
        self.tell().await;
        self.barrier.leader_epoch = LeaderEpoch(self.barrier.position.0 + 1);
        self.same(async |view, at| shown(&view.begin(at.partition, at.leader_epoch).await)).await;
        self.pending.push(Change::Claimed);
        self.tell().await;
    }

    async fn restore(&mut self, of: u8, piece: usize) {
        self.tell().await;
        let subscriptions = self.subscriptions.values().cloned().map(Change::Subscribed);
        let messages = self.waiting.values().cloned();
        let all: Vec<_> = subscriptions
            .chain(messages.map(|(message, since)| Change::Stored { message, since }))
            .filter(|change| change.user_agent() == Some(user_agent(of)))
            .collect();
        let pieces: Vec<_> = if all.is_empty() { vec![&all[..]] } else { all.chunks(piece).collect() };
        for (number, part) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            self.same(async |view, at| shown(&view.restore(at, user_agent(of), part, last).await)).await;
        }
    }

    async fn ask(&self, ask: &Ask) {
        let model = self.answers(&*self.views[0], ask).await;
        let redis = self.answers(&*self.views[1], ask).await;
        assert_eq!(redis, model, "Redis answered the first, the model the second");
        let now = NOW.plus(Duration::from_secs(ask.seconds));
        let whole = sorted(self.views[0].due(self.barrier, now, usize::MAX).await);
        self.same(async |view, at| {
            let due = view.due(at, now, ask.limit).await.unwrap();
            assert!(due.iter().all(|it| whole.contains(&format!("{it:?}"))), "{due:?} of {whole}");
            due.len().to_string()
        })
        .await;
    }

    /// Asks all questions at once.
    async fn answers(&self, view: &dyn View, ask: &Ask) -> Vec<String> {
        let at = self.barrier;
        let mut asked: Vec<BoxFuture<'_, String>> = Vec::new();
        let everybody: Vec<_> = (0..USER_AGENTS).collect();
        self.ask_of(view, &everybody, &mut asked);
        for of in everybody {
            self.ask_of(view, &[of], &mut asked);
            self.ask_one(view, of, ask, &mut asked);
        }
        let now = NOW.plus(Duration::from_secs(ask.seconds));
        asked.push(Box::pin(async move { sorted(view.due(at, now, usize::MAX).await) }));
        asked.push(Box::pin(async move { shown(&view.waiting(at).await) }));
        asked.push(Box::pin(async move { sorted(view.complete(at).await) }));
        join_all(asked).await
    }

    /// Adds the questions that take several user agents.
    fn ask_of<'a>(&self, view: &'a dyn View, all: &[u8], asked: &mut Vec<BoxFuture<'a, String>>) {
        let at = self.barrier;
        let channels: Vec<_> = all.iter().flat_map(|of| (0..CHANNELS).map(|on| (*of, on))).collect();
        let lives: Vec<SubscriptionRef> =
            channels.iter().flat_map(|(of, on)| (0..2).map(|life| subscription(*of, *on, life))).collect();
        let topics = channels.iter().flat_map(|(of, on)| {
            (1..3).filter_map(|number| Some((user_agent(*of), channel(*on), topic(number)?)))
        });
        let topics: Vec<_> = topics.collect();
        let ids = self.messages.values().map(|(message, _)| (message.to.user_agent, message.id));
        let ids: Vec<_> = ids.filter(|(of, _)| all.iter().any(|it| user_agent(*it) == *of)).collect();
        let channels: Vec<_> = channels.iter().map(|(of, on)| (user_agent(*of), channel(*on))).collect();
        asked.push(Box::pin(async move { shown(&view.find(at, &channels).await) }));
        asked.push(Box::pin(async move { shown(&view.alive(at, &lives).await) }));
        asked.push(Box::pin(async move { shown(&view.stored(at, &ids).await) }));
        asked.push(Box::pin(async move { shown(&view.in_topic(at, &topics).await) }));
    }

    fn ask_one<'a>(&self, view: &'a dyn View, of: u8, ask: &Ask, asked: &mut Vec<BoxFuture<'a, String>>) {
        let (at, who) = (self.barrier, user_agent(of));
        let limit = PageLimit { messages: ask.messages, octets: ask.octets };
        let place = |after| Sequence(if after == u64::MAX { u64::MAX } else { self.first + after });
        let start = PageStart { min_urgency: Urgency::ALL[ask.min_urgency], after: ask.after.map(place) };
        let now: Timestamp = NOW.plus(Duration::from_secs(ask.seconds));
        asked.push(Box::pin(async move { shown(&view.count(at, who).await) }));
        asked.push(Box::pin(async move { shown(&view.usage(at, who).await) }));
        for on in 0..CHANNELS {
            asked.push(Box::pin(async move { sorted(view.in_channel(at, who, channel(on)).await) }));
        }
        asked.push(Box::pin(async move {
            shown(&view.page(at, who, start, now, limit).await.map(|page| page.messages))
        }));
    }
}

fn ended(message: &Message, since: LeaderEpoch, outcome: Outcome) -> Change {
    StoredMessage::of(message, since).ended(outcome)
}

#[test]
fn redis_answers_as_the_model_does() {
    let run = random();
    let (number, open) = (Cell::new(0_u32), Cell::new(None));
    let histories = (0..BEGINNINGS.len(), prop::collection::vec(step(), 1..60));
    play(30, &histories, async |(first, steps)| {
        let partition = Partition(u16::try_from(number.get() % 50_000).unwrap());
        if partition.0 == 0 {
            let prefix = format!("view-{run:016x}-{}", number.get() / 50_000);
            open.set(Some(RedisView::new(redis(&prefix).await)));
        }
        number.set(number.get() + 1);
        let view = open.take().unwrap();
        open.set(Some(view.clone()));
        let mut world = World::new(&view, partition, BEGINNINGS[first]).await;
        for step in steps {
            world.step(step).await;
        }
        world.tell().await;
        world
            .ask(&Ask {
                after: [0; 4],
                min_urgency: 0,
                messages: 1000,
                octets: usize::MAX,
                seconds: 0,
                limit: 1000,
            })
            .await;
        // Keys left by a history would fill Redis in the end.
        let all: Vec<_> = (0..USER_AGENTS).map(user_agent).collect();
        view.set_aside(world.barrier, &all).await.unwrap();
    });
}
