//! Cost of the log: `PUSHGRID_KAFKA__BROKERS=... cargo run --release --example measure_kafka`.
//!
//! Prints latencies and rates, and the CPU time of this process for each record. Leaves its topics behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use pushgrid_log_kafka::{Config, KafkaAssignments, KafkaChangelog, KafkaLog, Topics, topics};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Assignment, Assignments, Change, Changelog, EventLog};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Partition, Position, Rng, Sequence, SubscriptionRef,
    SystemRng, Timestamp, Ttl, Urgency, UserAgentId,
};

/// Octets of a body: an encrypted message of some length.
const BODY: usize = 1200;
const PARTITIONS: u16 = 12;
const WITHIN: &str = "nothing takes longer than a minute";

#[tokio::main]
async fn main() {
    // There and back: what comes later finds warmer brokers, and must not look better for it.
    for linger in [0, 200, 500, 1000, 1000, 500, 200, 0] {
        let (config, topics) = place(Duration::from_micros(linger)).await;
        let log = Arc::new(KafkaLog::open(&config, &topics, &Meter::new()).expect("the settings are right"));
        println!("linger {linger} µs");
        one_at_a_time(&log).await;
        for rate in [1000, 3000] {
            open_loop(&log, rate).await;
        }
        in_flight(&log).await;
    }
    let (config, topics) = place(Duration::ZERO).await;
    consume(&config, &topics).await;
    changelog(&config, &topics).await;
    println!("CPU in all {:?}", cpu());
}

async fn place(linger: Duration) -> (Config, Topics) {
    let mut octets = [0; 8];
    SystemRng.fill(&mut octets);
    let prefix = format!("kafka.topic_prefix=measure-{:016x}", u64::from_le_bytes(octets));
    let overrides = [prefix, format!("kafka.partitions={PARTITIONS}")];
    let layers = Layers::load(None, std::env::vars(), &overrides).expect("the environment can be read");
    let mut reader = Reader::new(layers);
    let config = Config { linger, ..Config::read(&mut reader) };
    config.require(&mut reader);
    reader.finish().expect("the settings are right");
    let topics = topics::ensure(&config).await.expect("the brokers are there");
    (config, topics)
}

fn message() -> Message {
    let mut body = vec![0; BODY];
    SystemRng.fill(&mut body);
    let ttl = Ttl::from_secs(3600);
    let accepted_at = Timestamp::from_secs(1_700_000_000);
    Message {
        id: MessageId::random(&SystemRng),
        to: SubscriptionRef {
            user_agent: UserAgentId::random(&SystemRng),
            channel: ChannelId::random(&SystemRng),
            incarnation: Incarnation::random(&SystemRng),
        },
        sequence: Sequence(0),
        accepted_at,
        ttl,
        expires_at: Message::expiry(accepted_at, ttl),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: body.into(), encoding: Some("aes128gcm".into()), ..Content::default() },
    }
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit_once(')').expect("a name in parentheses").1;
    // Counted from the state, which is the third field: some of those between are negative.
    let field = |index| after.split_whitespace().nth(index).and_then(|field| field.parse::<u64>().ok());
    let [user, system] = [11, 12].map(|index| field(index).expect("a number of ticks"));
    // Hundredths of a second.
    Duration::from_millis((user + system) * 10)
}

fn print(what: &str, count: usize, begun: Instant, cpu_before: Duration, histogram: &Histogram<u64>) {
    let (took, used) = (begun.elapsed(), cpu().saturating_sub(cpu_before));
    let count = u32::try_from(count).expect("not that many");
    print!("  {what}: {:.0}/s, CPU {:?} each", f64::from(count) / took.as_secs_f64(), used / count);
    let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
    if histogram.is_empty() { println!() } else { println!(", p50 {:?}, p99 {:?}", at(0.5), at(0.99)) }
}

fn histogram() -> Histogram<u64> {
    // A minute at most. A histogram without a bound of its own would clamp all that is longer than 2 ms.
    Histogram::new_with_max(60_000_000, 3).expect("three digits are allowed")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn one_at_a_time(log: &KafkaLog) {
    // The producer asks the brokers for its number as soon as it is opened.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    log.append(message()).await.expect("appended");
    println!("  first append, a second after opening: {:?}", begun.elapsed());
    let (begun, before, mut times) = (Instant::now(), cpu(), histogram());
    for _ in 0..1500 {
        let message = message();
        let begun = Instant::now();
        log.append(message).await.expect("appended");
        times.record(micros(begun.elapsed())).expect(WITHIN);
    }
    print("one at a time", 1500, begun, before, &times);
}

async fn open_loop(log: &Arc<KafkaLog>, rate: u32) {
    let seconds = 5;
    let (begun, before) = (Instant::now(), cpu());
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..rate * seconds {
        ticks.tick().await;
        let (log, message) = (Arc::clone(log), message());
        tasks.spawn(async move {
            let begun = Instant::now();
            log.append(message).await.expect("appended");
            micros(begun.elapsed())
        });
    }
    let mut times = histogram();
    tasks.join_all().await.into_iter().for_each(|time| times.record(time).expect(WITHIN));
    print(&format!("open loop of {rate}/s"), (rate * seconds) as usize, begun, before, &times);
}

async fn in_flight(log: &KafkaLog) {
    let messages: Vec<Message> = (0..60_000).map(|_| message()).collect();
    let count = messages.len();
    let (begun, before, mut times) = (Instant::now(), cpu(), histogram());
    let append = |message| async {
        let begun = Instant::now();
        log.append(message).await.expect("appended");
        micros(begun.elapsed())
    };
    let mut messages = messages.into_iter();
    let mut under_way: FuturesUnordered<_> = messages.by_ref().take(512).map(append).collect();
    while let Some(time) = under_way.next().await {
        times.record(time).expect(WITHIN);
        under_way.extend(messages.next().map(append));
    }
    let under_way =
        times.mean() / 1e6 * f64::from(u32::try_from(count).expect("few")) / begun.elapsed().as_secs_f64();
    assert!(
        (400.0..560.0).contains(&under_way),
        "512 were under way, and by the latencies it was {under_way}"
    );
    print("512 under way", count, begun, before, &times);
}

/// Measures the delay from before the append to the router's reader, and the CPU time of reading.
async fn consume(config: &Config, topics: &Topics) {
    let log = Arc::new(KafkaLog::open(config, topics, &Meter::new()).expect("the settings are right"));
    let begun = Instant::now();
    let mut member = KafkaAssignments::join(config, topics, &Meter::new()).expect("the settings are right");
    let mut readers = tokio::task::JoinSet::new();
    let (sender, mut received) = tokio::sync::mpsc::channel(10_000);
    for _ in 0..PARTITIONS {
        let Ok(Some(Assignment::Gained(mut share))) = member.next().await else { panic!("no partition") };
        share.reader.seek(Sequence(1)).await.expect("sought");
        let sender = sender.clone();
        readers.spawn(async move {
            loop {
                for message in share.reader.next(256).await.expect("read") {
                    let _ = sender.send((message.id, Instant::now())).await;
                }
            }
        });
    }
    println!("joined and sought after {:?}", begun.elapsed());
    log.append(message()).await.expect("appended");
    received.recv().await.expect("received");
    for rate in [200_u32, 1000, 3000] {
        let (begun, before, mut times) = (Instant::now(), cpu(), histogram());
        let count = rate as usize * 5;
        let producing = {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
                let mut sent = std::collections::HashMap::new();
                for _ in 0..count {
                    ticks.tick().await;
                    let (log, message) = (Arc::clone(&log), message());
                    sent.insert(message.id, Instant::now());
                    tokio::spawn(async move { log.append(message).await.expect("appended") });
                }
                sent
            })
        };
        let mut got = Vec::new();
        while got.len() < count {
            got.push(received.recv().await.expect("received"));
        }
        let sent = producing.await.expect("produced");
        for (id, at) in &got {
            times.record(micros(at.duration_since(sent[id]))).expect(WITHIN);
        }
        print(&format!("append to reader at {rate}/s"), count, begun, before, &times);
    }
}

async fn changelog(config: &Config, topics: &Topics) {
    let changelog = KafkaChangelog::open(config, topics, Arc::new(SystemRng), &Meter::new())
        .expect("the settings are right");
    let leader_epoch = changelog.claim(Partition(0)).await.expect("claimed");
    let (begun, before) = (Instant::now(), cpu());
    for _ in 0..200 {
        let stored = |()| Change::Stored { message: Arc::new(message()), since: leader_epoch };
        let changes = std::iter::repeat_n((), 500).map(stored).collect();
        changelog.append(Partition(0), leader_epoch, changes).await.expect("appended");
    }
    print("changelog, 500 at a time", 100_000, begun, before, &histogram());
    for round in 0..3 {
        let (begun, before) = (Instant::now(), cpu());
        let mut reading = changelog.read(Partition(0), Position(0)).await.expect("read");
        let opened = begun.elapsed();
        let mut count = 0;
        loop {
            let page = reading.next(500).await.expect("read");
            if page.is_empty() {
                break;
            }
            count += page.len();
        }
        assert_eq!(count, 100_001, "what was written");
        print(
            &format!("changelog read {round} (opened after {opened:?})"),
            count,
            begun,
            before,
            &histogram(),
        );
    }
}
