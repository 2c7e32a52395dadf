//! Parts common to both kinds of histories.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store_redis::Redis;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, ReplaceKey, Rng, Sequence, SubscriptionRef,
    SystemRng, Timestamp, Ttl, Urgency, UserAgentId,
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// TTLs in seconds, the shortest and the longest among them.
pub(crate) const LIVES: [u32; 5] = [0, 1, 60, 86_400, u32::MAX];

/// Sizes of bodies, in octets.
pub(crate) const BODIES: [usize; 5] = [0, 0, 1, 10, 4096];

/// A random number from the system.
pub(crate) fn random() -> u64 {
    let mut octets = [0; 8];
    SystemRng.fill(&mut octets);
    u64::from_le_bytes(octets)
}

/// Plays `PROPTEST_CASES` histories, by default `cases`, until one fails.
pub(crate) fn play<S: Strategy>(cases: u32, histories: &S, mut play: impl AsyncFnMut(S::Value))
where
    S::Value: Debug + Clone,
{
    let _ = address();
    let set = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { set.cases } else { cases };
    let seed = match set.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => random(),
    };
    println!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={cases}");
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..set
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let play = std::cell::RefCell::new(&mut play);
    let outcome = TestRunner::new(config).run(histories, |history| {
        let mut play = play.borrow_mut();
        runtime.block_on(async { (*play)(history).await });
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, history)) => panic!("seed {seed}: {why}\n{history:#?}"),
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

fn address() -> String {
    std::env::var("PUSHGRID_REDIS__URL").unwrap_or_else(|_| {
        panic!("PUSHGRID_REDIS__URL is not set: `deploy/local/servers up` starts what this test needs, and `deploy/local/servers env` prints it")
    })
}

/// Connection with a key prefix of its own; its keys expire.
pub(crate) async fn redis(prefix: &str) -> Redis {
    let url = address();
    let overrides =
        [format!("redis.url={url}"), format!("redis.prefix={prefix}"), "redis.timeout=60s".to_owned()];
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap());
    let config = pushgrid_store_redis::Config::read(&mut reader);
    reader.finish().unwrap();
    Redis::connect(&config, &Meter::new()).await.unwrap()
}

pub(crate) fn user_agent(of: u8) -> UserAgentId {
    UserAgentId::from_octets([of; 16])
}

pub(crate) fn channel(on: u8) -> ChannelId {
    ChannelId::from_octets([on; 16])
}

pub(crate) fn subscription(of: u8, on: u8, life: u8) -> SubscriptionRef {
    let incarnation = Incarnation::from_octets([life; 12]);
    SubscriptionRef { user_agent: user_agent(of), channel: channel(on), incarnation }
}

pub(crate) fn topic(number: u8) -> Option<ReplaceKey> {
    ["", "a", "the-topic-of-thirty-two-octets-_"].get(usize::from(number))?.parse().ok()
}

/// Urgency of the message of this label: half of them have the default.
fn urgency(label: u64) -> Urgency {
    let place = usize::try_from(label % 7 % 4).expect("small");
    [Urgency::Normal, Urgency::High, Urgency::VeryLow, Urgency::Low][place]
}

/// A message, named by its label.
pub(crate) fn message(
    to: SubscriptionRef,
    label: u64,
    topic: Option<ReplaceKey>,
    octets: usize,
    life: u32,
) -> Message {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&label.to_be_bytes());
    let ttl = Ttl::from_secs(life);
    // The longest life is one that no clock sees the end of: the largest number that SQLite knows.
    let expires_at =
        if life == u32::MAX { Timestamp::from_millis(u64::MAX >> 1) } else { Message::expiry(NOW, ttl) };
    Message {
        id: MessageId::from_octets(id),
        to,
        sequence: Sequence(0),
        accepted_at: NOW,
        ttl,
        expires_at,
        urgency: urgency(label),
        topic,
        receipt: None,
        content: Content { body: vec![3; octets].into(), ..Content::default() },
    }
}
