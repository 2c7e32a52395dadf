//! Prints the store's throughput and latency on this machine:
//! `cargo run --release --example measure_embedded [directory]`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pushgrid_store::{
    End, EventLog, LogConsumer, Mailbox, PageLimit, PageStart, Subscription, Subscriptions,
};
use pushgrid_store_embedded::{Embedded, EmbeddedConfig};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Outcome, Restriction, Rng, Sequence,
    SubscriptionRef, SystemClock, SystemRng, Timestamp, Ttl, Urgency, UserAgentId, WallClock,
};
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USER_AGENTS: usize = 5_000;
const PAGE: PageLimit = PageLimit { messages: 100, octets: 1 << 20 };

fn main() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let path = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(path))
}

async fn measure(path: PathBuf) -> Result<()> {
    let grid = Grid::new(Embedded::open(&EmbeddedConfig::at(path.join("measure")))?);
    grid.subscribe().await?;
    for (concurrency, messages) in [(1, 3_000), (16, 20_000), (256, 80_000)] {
        grid.append(concurrency, messages).await?;
    }
    grid.store_all().await?;
    grid.look_around().await?;
    grid.page_and_settle().await?;
    for concurrency in [16, 256] {
        grid.pass_through(concurrency, 40_000).await?;
    }
    grid.steady(200, Duration::from_secs(20)).await?;
    grid.store.close().await;
    Ok(())
}

struct Grid {
    store: Embedded,
    to: Arc<Vec<SubscriptionRef>>,
    body: Bytes,
    now: Timestamp,
}

/// Latencies of single calls, and the cost of all of them.
struct Run {
    started: Instant,
    cpu: Duration,
    commits: u64,
}

impl Run {
    fn start(store: &Embedded) -> Self {
        Self { started: Instant::now(), cpu: cpu_time(), commits: store.commits() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a report is read by people")]
    fn report(&self, store: &Embedded, what: &str, messages: usize, mut times: Vec<Duration>) {
        let elapsed = self.started.elapsed();
        let cpu = cpu_time().saturating_sub(self.cpu).as_secs_f64() * 1e6 / messages as f64;
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 1000).min(times.len().saturating_sub(1)));
        let [p50, p99, max] = [500, 990, 1000].map(|share| at(share).copied().unwrap_or_default());
        println!(
            "{what:<34} {:>7.0} messages/s  p50 {p50:>9.1?}  p99 {p99:>9.1?}  max {max:>9.1?}  \
             {cpu:>5.1} us CPU each  {:>6} commits",
            messages as f64 / elapsed.as_secs_f64(),
            store.commits() - self.commits,
        );
    }
}

impl Grid {
    fn new(store: Embedded) -> Self {
        let to = (0..USER_AGENTS).map(|_| SubscriptionRef {
            user_agent: UserAgentId::random(&SystemRng),
            channel: ChannelId::random(&SystemRng),
            incarnation: Incarnation::random(&SystemRng),
        });
        let mut body = vec![0; 1024];
        SystemRng.fill(&mut body);
        Self { store, to: Arc::new(to.collect()), body: body.into(), now: SystemClock.wall() }
    }

    fn message(&self, label: usize) -> Message {
        let ttl = Ttl::from_secs(3600);
        Message {
            id: MessageId::random(&SystemRng),
            // Neighbours in time are not neighbours in the file.
            to: self.to[label.wrapping_mul(7919) % USER_AGENTS],
            sequence: Sequence(0),
            accepted_at: self.now,
            ttl,
            expires_at: Message::expiry(self.now, ttl),
            urgency: Urgency::Normal,
            topic: None,
            receipt: None,
            content: Content {
                body: self.body.clone(),
                encoding: Some("aes128gcm".into()),
                ..Content::default()
            },
        }
    }

    async fn subscribe(&self) -> Result<()> {
        let mut puts = JoinSet::new();
        for id in self.to.iter().copied() {
            let (store, seen_at) = (self.store.clone(), self.now);
            puts.spawn(async move {
                store
                    .put(
                        None,
                        Subscription {
                            id,
                            restriction: Restriction::Open,
                            seen_at,
                            is_noted: true,
                            webhook: None,
                        },
                    )
                    .await
            });
        }
        while let Some(put) = puts.join_next().await {
            put??;
        }
        Ok(())
    }

    /// Appends with `concurrency` callers, each with its next message as soon as the last one is durable.
    async fn append(&self, concurrency: usize, messages: usize) -> Result<()> {
        let run = Run::start(&self.store);
        let times = self.append_from(concurrency, messages).await?;
        run.report(&self.store, &format!("append, {concurrency} at a time"), messages, times);
        Ok(())
    }

    async fn append_from(&self, concurrency: usize, messages: usize) -> Result<Vec<Duration>> {
        let mut callers = JoinSet::new();
        for caller in 0..concurrency {
            let store = self.store.clone();
            let batch: Vec<_> =
                (caller..messages).step_by(concurrency).map(|label| self.message(label)).collect();
            callers.spawn(async move {
                let mut times = Vec::with_capacity(batch.len());
                for message in batch {
                    let started = Instant::now();
                    store.append(message).await?;
                    times.push(started.elapsed());
                }
                Ok::<_, pushgrid_store::StoreError>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(caller) = callers.join_next().await {
            times.extend(caller??);
        }
        Ok(times)
    }

    /// Moves everything to the mailbox, 64 messages a call, eight calls at a time.
    async fn store_all(&self) -> Result<()> {
        let pending = usize::try_from(self.store.ledger().snapshot().pending)?;
        let run = Run::start(&self.store);
        let mut consumer = self.store.consumer()?;
        let mut calls = JoinSet::new();
        let mut times = Vec::new();
        let mut taken = 0;
        while taken < pending {
            let batch = consumer.next(64).await?;
            taken += batch.len();
            while calls.len() >= 8 {
                times.extend(calls.join_next().await.transpose()?.transpose()?);
            }
            let store = self.store.clone();
            calls.spawn(async move {
                let started = Instant::now();
                store.store(batch).await.map(|_| started.elapsed())
            });
        }
        while let Some(call) = calls.join_next().await {
            times.push(call??);
        }
        run.report(&self.store, "store, calls of 64", pending, times);
        Ok(())
    }

    /// Times single reads, and one sweep, with everything stored.
    async fn look_around(&self) -> Result<()> {
        let run = Run::start(&self.store);
        let mut times = Vec::new();
        let mut messages = 0;
        for id in self.to.iter().take(1000) {
            let started = Instant::now();
            let page = self.store.page(id.user_agent, PageStart::FIRST, self.now, PAGE).await?.messages;
            times.push(started.elapsed());
            messages += page.len();
        }
        run.report(&self.store, "page, one at a time", messages, times);
        let run = Run::start(&self.store);
        let started = Instant::now();
        let expired = self.store.expire(self.now.plus(Duration::from_hours(2)), 1000).await?;
        run.report(&self.store, "expire, one call", expired, vec![started.elapsed()]);
        Ok(())
    }

    /// Runs 16 sessions, each reading its mailbox and acknowledging a page at a time.
    async fn page_and_settle(&self) -> Result<()> {
        let pending = usize::try_from(self.store.ledger().snapshot().pending)?;
        let run = Run::start(&self.store);
        let mut sessions = JoinSet::new();
        for session in 0..16 {
            let (store, to, now) = (self.store.clone(), Arc::clone(&self.to), self.now);
            sessions.spawn(async move {
                let mut times = Vec::new();
                for id in to.iter().skip(session).step_by(16) {
                    let started = Instant::now();
                    let page = store.page(id.user_agent, PageStart::FIRST, now, PAGE).await?.messages;
                    let ended = page.iter().map(|message| (message.id, Outcome::Delivered)).collect();
                    store.settle(id.user_agent, ended).await?;
                    times.push(started.elapsed());
                }
                Ok::<_, pushgrid_store::StoreError>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(session) = sessions.join_next().await {
            times.extend(session??);
        }
        run.report(&self.store, "page and settle, 16 sessions", pending, times);
        Ok(())
    }

    /// Passes messages through as a router does for connected user agents: nothing is stored.
    async fn pass_through(&self, concurrency: usize, messages: usize) -> Result<()> {
        let run = Run::start(&self.store);
        let consuming = self.deliver(messages)?;
        let times = self.append_from(concurrency, messages).await?;
        consuming.await??;
        self.store.flush().await?;
        run.report(&self.store, &format!("append and deliver, {concurrency} at a time"), messages, times);
        Ok(())
    }

    fn deliver(&self, messages: usize) -> Result<tokio::task::JoinHandle<Result<()>>> {
        let mut consumer = self.store.consumer()?;
        Ok(tokio::spawn(async move {
            let mut taken = 0;
            while taken < messages {
                let batch = consumer.next(256).await?;
                taken += batch.len();
                consumer.settle(batch.iter().map(|it| End::of(it, Outcome::Delivered)).collect());
            }
            Ok(())
        }))
    }

    /// Runs an even load, delivered at once: the latency of a single caller, checkpoints included.
    async fn steady(&self, rate: u32, length: Duration) -> Result<()> {
        let messages = usize::try_from(rate)? * usize::try_from(length.as_secs())?;
        let run = Run::start(&self.store);
        let consuming = self.deliver(messages)?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut calls = JoinSet::new();
        let slow = Arc::new(AtomicU64::new(0));
        for label in 0..messages {
            ticks.tick().await;
            let (store, message, slow) = (self.store.clone(), self.message(label), Arc::clone(&slow));
            calls.spawn(async move {
                let started = Instant::now();
                store.append(message).await?;
                let time = started.elapsed();
                slow.fetch_add(u64::from(time > Duration::from_millis(20)), Ordering::Relaxed);
                Ok::<_, pushgrid_store::StoreError>(time)
            });
        }
        let mut times = Vec::new();
        while let Some(call) = calls.join_next().await {
            times.push(call??);
        }
        consuming.await??;
        run.report(&self.store, &format!("append and deliver, {rate} a second"), messages, times);
        println!("{:<34} {:>7} calls took more than 20 ms", "", slow.load(Ordering::Relaxed));
        Ok(())
    }
}

/// CPU time of this process so far, in ticks of ten milliseconds; zero without /proc.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
