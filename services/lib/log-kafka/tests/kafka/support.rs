//! Topics in a real Kafka for one test, and the calls that tests make.

use std::time::Duration;

use pushgrid_log_kafka::{Config, KafkaAssignments, KafkaLog, Topics, topics};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{Assignment, Assignments, EventLog, Share};
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Partition, Rng, Sequence, SubscriptionRef,
    SystemRng, Timestamp, Ttl, Urgency, UserAgentId,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::sync::oneshot;

const BROKERS: &str = "PUSHGRID_KAFKA__BROKERS";
/// Deadline beyond any expected duration on a slow machine.
const LONG: Duration = Duration::from_mins(1);

/// Topics of one test, deleted when it ends.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) topics: Topics,
    pub(crate) meter: Meter,
}

impl Drop for Place {
    fn drop(&mut self) {
        let config = self.config.clone();
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let names =
                ["accepted", "state", "broadcasts"].map(|name| format!("{}.{name}", config.topic_prefix));
            let names = names.each_ref().map(String::as_str);
            runtime.block_on(admin(&config).delete_topics(&names, &AdminOptions::new())).map(drop)
        };
        // A test that has failed has its own message.
        let deleted = std::thread::spawn(delete).join();
        assert!(std::thread::panicking() || deleted.is_ok_and(|deleted| deleted.is_ok()));
    }
}

/// The address of the Kafka that tests use.
pub(crate) fn brokers() -> String {
    std::env::var(BROKERS).unwrap_or_else(|_| {
        panic!(
            "{BROKERS} is not set: these tests need a Kafka. `deploy/local/servers up` starts one, and \
                `deploy/local/servers env` prints the variable."
        )
    })
}

/// Settings with topics of their own.
pub(crate) fn config(partitions: u16) -> Config {
    let mut octets = [0; 8];
    SystemRng.fill(&mut octets);
    configured(&format!("test-{:016x}", u64::from_le_bytes(octets)), partitions)
}

/// Settings with topics of this prefix.
pub(crate) fn configured(prefix: &str, partitions: u16) -> Config {
    let overrides = [
        format!("kafka.brokers={}", brokers()),
        format!("kafka.topic_prefix={prefix}"),
        format!("kafka.partitions={partitions}"),
    ];
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap());
    let config = Config::read(&mut reader);
    reader.finish().unwrap();
    config
}

pub(crate) async fn place(partitions: u16) -> Place {
    let config = config(partitions);
    let topics = topics::ensure(&config).await.unwrap();
    Place { config, topics, meter: Meter::new() }
}

pub(crate) fn admin(config: &Config) -> AdminClient<DefaultClientContext> {
    client(config).create().unwrap()
}

/// A client as anybody could have one.
pub(crate) fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    client
}

impl Place {
    pub(crate) fn log(&self) -> KafkaLog {
        KafkaLog::open(&self.config, &self.topics, &self.meter).unwrap()
    }

    pub(crate) fn join(&self) -> KafkaAssignments {
        KafkaAssignments::join(&self.config, &self.topics, &self.meter).unwrap()
    }

    /// Value of a series, as the meter shows it.
    pub(crate) fn shown(&self, series: &str) -> u64 {
        let text = self.meter.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Counts of damaged and of newer records of a topic that were passed over.
    pub(crate) fn passed_over(&self, topic: &str) -> [u64; 2] {
        ["skipped", "newer"]
            .map(|what| self.shown(&format!("pushgrid_log_{what}_total{{topic=\"{topic}\"}}")))
    }

    pub(crate) fn accepted(&self) -> String {
        format!("{}.accepted", self.config.topic_prefix)
    }

    pub(crate) fn state(&self) -> String {
        format!("{}.state", self.config.topic_prefix)
    }
}

/// Next event of a membership.
pub(crate) async fn event(assignments: &mut KafkaAssignments) -> Option<Assignment> {
    within(assignments.next()).await.unwrap()
}

/// The next `count` partitions that are gained, lowest first; nothing may be lost meanwhile.
pub(crate) async fn gained(assignments: &mut KafkaAssignments, count: usize) -> Vec<Share> {
    let mut shares = Vec::new();
    while shares.len() < count {
        match event(assignments).await {
            Some(Assignment::Gained(share)) => shares.push(share),
            other => panic!("a gain was expected, not {other:?}"),
        }
    }
    shares.sort_by_key(|share| share.partition);
    shares
}

/// The next partition that is lost.
pub(crate) async fn lost(assignments: &mut KafkaAssignments) -> (Partition, oneshot::Sender<()>) {
    match event(assignments).await {
        Some(Assignment::Lost { partition, done }) => (partition, done),
        other => panic!("a loss was expected, not {other:?}"),
    }
}

/// Awaits `future`, and panics after [`LONG`].
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it should have happened long ago")
}

/// The next `count` messages of a share that has been sought.
pub(crate) async fn read(share: &mut Share, count: usize) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    while messages.len() < count {
        let batch = within(share.reader.next(count - messages.len())).await.unwrap();
        assert!(!batch.is_empty(), "the partition is lost");
        messages.extend(batch.iter().map(|message| Message::clone(message)));
    }
    messages
}

/// A message for the user agent `label`.
pub(crate) fn message(label: u8) -> Message {
    let ttl = Ttl::from_secs(3600);
    let accepted_at = Timestamp::from_secs(1_700_000_000);
    let mut body = vec![0; 700];
    SystemRng.fill(&mut body);
    Message {
        id: MessageId::random(&SystemRng),
        to: subscription(label),
        sequence: Sequence(0),
        accepted_at,
        ttl,
        expires_at: Message::expiry(accepted_at, ttl),
        urgency: Urgency::High,
        topic: Some("news".parse().unwrap()),
        receipt: None,
        content: Content { body: body.into(), encoding: Some("aes128gcm".into()), ..Content::default() },
    }
}

pub(crate) fn subscription(label: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: UserAgentId::from_octets(u128::from(label).to_be_bytes()),
        channel: ChannelId::from_octets([label; 16]),
        incarnation: Incarnation::from_octets([label; 12]),
    }
}

/// Appends a message, and returns the message as a reader must get it.
pub(crate) async fn append(log: &KafkaLog, label: u8) -> Message {
    let mut message = message(label);
    message.sequence = within(log.append(message.clone())).await.unwrap();
    message
}
