//! Prints what the view costs: `cargo run --release --example measure_redis REDIS_URL`.
//!
//! The server must be empty, and is emptied afterwards. Memory is what Redis says that it uses, and every number is of
//! one partition; processor time is that of this process and of Redis.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{
    Change, PageLimit, PageStart, Presence, ReadBarrier, StoredMessage, Subscription, View,
};
use pushgrid_store_redis::{Config, Redis, RedisPresence, RedisView};
use pushgrid_types::{
    ChannelId, Content, Incarnation, LeaderEpoch, Message, MessageId, NodeId, Outcome, Partition, Position,
    ReplaceKey, Restriction, Sequence, SessionId, SessionRef, SubscriptionRef, SystemRng, Timestamp, Ttl,
    Urgency, UserAgentId, VapidKeyHash,
};
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USER_AGENTS: usize = 20_000;
const BATCH: usize = 100;
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const LEADER_EPOCH: LeaderEpoch = LeaderEpoch(1);

#[tokio::main]
async fn main() -> Result<()> {
    let url =
        std::env::args().nth(1).ok_or("the URL of an empty server is needed: redis://127.0.0.1:6379")?;
    let set = [format!("redis.url={url}"), "redis.timeout=30s".to_owned()];
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &set)?);
    let config = Config::read(&mut reader);
    reader.finish()?;
    let mut direct = redis::Client::open(url)?.get_connection()?;
    if redis::cmd("DBSIZE").query::<u64>(&mut direct)? != 0 {
        return Err("the server is not empty".into());
    }
    let redis = Redis::connect(&config, &Meter::new()).await?;
    let presence = RedisPresence::new(redis.clone(), Partition(0), LEADER_EPOCH);
    let mut grid = Grid { view: RedisView::new(redis), presence, direct, position: 0, sequence: 0 };
    grid.idle().await?;
    grid.calls().await?;
    grid.messages().await?;
    redis::cmd("FLUSHALL").exec(&mut grid.direct)?;
    Ok(())
}

struct Grid {
    view: RedisView,
    presence: RedisPresence,
    direct: redis::Connection,
    position: u64,
    sequence: u64,
}

impl Grid {
    const fn barrier(&self) -> ReadBarrier {
        ReadBarrier { partition: Partition(0), leader_epoch: LEADER_EPOCH, position: Position(self.position) }
    }

    async fn tell(&mut self, changes: &[Change]) -> Result<()> {
        let to = Position(self.position + changes.len() as u64);
        self.view.apply(self.barrier(), changes, to).await?;
        self.position = to.0;
        Ok(())
    }

    /// Reads a number of a section of `INFO`.
    fn info(&mut self, section: &str, name: &str) -> Result<f64> {
        let text: String = redis::cmd("INFO").arg(section).query(&mut self.direct)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.ok_or("it is not there")?.trim().parse()?)
    }

    fn memory(&mut self) -> Result<f64> {
        self.info("memory", "used_memory")
    }

    /// Measures a subscription and a presence for each of many user agents.
    async fn idle(&mut self) -> Result<()> {
        self.tell(&[Change::Claimed]).await?;
        let begun = self.memory()?;
        let ids: Vec<_> = (0..USER_AGENTS).map(subscription).collect();
        for ids in ids.chunks(BATCH) {
            let made: Vec<_> = ids.iter().map(|id| Change::Subscribed(made(*id))).collect();
            self.tell(&made).await?;
        }
        let subscribed = self.memory()?;
        let session = SessionRef { node: NodeId(u64::MAX), session: SessionId(1) };
        for id in &ids {
            self.presence.claim(id.user_agent, session).await?;
        }
        let present = self.memory()?;
        let each = |from: f64, to: f64| (to - from) / count(USER_AGENTS);
        println!(
            "octets per user agent: {:.0} with a subscription restricted to a key,",
            each(begun, subscribed)
        );
        println!("  {:.0} with its presence as well", each(begun, present));
        Ok(())
    }

    async fn calls(&mut self) -> Result<()> {
        let ids: Arc<Vec<_>> = Arc::new((0..USER_AGENTS).map(subscription).collect());
        for (callers, batch, calls) in
            [(1, 1, 20_000), (1, BATCH, 5_000), (16, BATCH, 10_000), (64, 1, 100_000)]
        {
            let run = self.begin()?;
            let mut tasks = JoinSet::new();
            for caller in 0..callers {
                let (view, ids, barrier) = (self.view.clone(), Arc::clone(&ids), self.barrier());
                tasks.spawn(async move {
                    for call in 0..calls / callers {
                        let at = (caller * 997 + call * batch) % (USER_AGENTS - batch);
                        view.alive(barrier, &ids[at..at + batch]).await?;
                    }
                    Ok::<_, pushgrid_store::ViewError>(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            self.report(&format!("alive, {callers} callers, {batch} at a time"), calls, &run)?;
        }
        Ok(())
    }

    /// Measures messages of 1 KiB: one for each of many user agents, many for one, ended and paged.
    async fn messages(&mut self) -> Result<()> {
        for (user_agents, topic) in [(10_000, None), (10_000, Some("news")), (10, None)] {
            let begun = self.memory()?;
            let run = self.begin()?;
            let mut stored = Vec::new();
            let mut calls = 0;
            for first in (0..10_000).step_by(BATCH) {
                let batch: Vec<_> =
                    (first..first + BATCH).map(|at| self.message(at % user_agents, topic)).collect();
                let changes: Vec<_> = batch
                    .iter()
                    .map(|it| Change::Stored { message: Arc::clone(it), since: LEADER_EPOCH })
                    .collect();
                self.tell(&changes).await?;
                stored.extend(batch);
                calls += 1;
            }
            let each = (self.memory()? - begun) / 10_000.0;
            println!(
                "octets per message of 1 KiB: {each:.0} ({user_agents} user agents, topic: {})",
                topic.is_some()
            );
            self.report("apply, 100 stored at a time", calls, &run)?;
            self.page(user_agents).await?;
            let run = self.begin()?;
            for batch in stored.chunks(BATCH) {
                let changes: Vec<_> = batch.iter().map(|it| ended(it)).collect();
                self.tell(&changes).await?;
            }
            self.report("apply, 100 ended at a time", calls, &run)?;
        }
        Ok(())
    }

    async fn page(&mut self, user_agents: usize) -> Result<()> {
        let run = self.begin()?;
        let limit = PageLimit { messages: 100, octets: 256 << 10 };
        let mut found = 0;
        for at in 0..1000 {
            let of = subscription(at % user_agents).user_agent;
            found += self.view.page(self.barrier(), of, PageStart::FIRST, NOW, limit).await?.messages.len();
        }
        self.report(&format!("page of {} messages", found / 1000), 1000, &run)
    }

    fn message(&mut self, of: usize, topic: Option<&str>) -> Arc<Message> {
        self.sequence += 1;
        let ttl = Ttl::from_secs(86_400);
        Arc::new(Message {
            id: MessageId::random(&SystemRng),
            to: subscription(of),
            sequence: Sequence(self.sequence),
            accepted_at: NOW,
            ttl,
            expires_at: Message::expiry(NOW, ttl),
            urgency: Urgency::Normal,
            topic: topic.map(|text| text.parse::<ReplaceKey>().expect("it is a topic")),
            receipt: None,
            content: Content {
                body: Bytes::from(vec![7; 1024]),
                encoding: Some("aes128gcm".into()),
                ..Content::default()
            },
        })
    }

    fn begin(&mut self) -> Result<Run> {
        Ok(Run { started: Instant::now(), ours: ours()?, its: self.cpu()? })
    }

    fn cpu(&mut self) -> Result<f64> {
        Ok(self.info("cpu", "used_cpu_user")? + self.info("cpu", "used_cpu_sys")?)
    }

    fn report(&mut self, what: &str, calls: usize, run: &Run) -> Result<()> {
        let took = run.started.elapsed();
        let (ours, its) = (ours()?.saturating_sub(run.ours), self.cpu()? - run.its);
        let calls = count(calls);
        println!(
            "{what}: {:.0} calls a second, processor time of a call {:.1} us here and {:.1} us in Redis",
            calls / took.as_secs_f64(),
            ours.as_secs_f64() * 1e6 / calls,
            its * 1e6 / calls,
        );
        Ok(())
    }
}

/// Usage at the start of a run.
struct Run {
    started: Instant,
    ours: Duration,
    its: f64,
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).expect("nothing here is counted that far"))
}

/// CPU time of this process.
fn ours() -> Result<Duration> {
    let threads: Result<Vec<u64>> = std::fs::read_dir("/proc/self/task")?
        .map(|task| {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
        })
        .collect();
    Ok(Duration::from_nanos(threads?.iter().sum()))
}

fn subscription(label: usize) -> SubscriptionRef {
    // As random as real ones are, to a compressor of octets.
    let octets = (label as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    SubscriptionRef {
        user_agent: UserAgentId::from_octets(octets),
        channel: ChannelId::from_octets(octets.map(|octet| !octet)),
        incarnation: Incarnation::from_octets([octets[3]; 12]),
    }
}

const fn made(id: SubscriptionRef) -> Subscription {
    Subscription {
        id,
        restriction: Restriction::VapidKey(VapidKeyHash([5; 32])),
        seen_at: NOW,
        is_noted: true,
        webhook: None,
    }
}

fn ended(message: &Message) -> Change {
    StoredMessage::of(message, LEADER_EPOCH).ended(Outcome::Delivered)
}
