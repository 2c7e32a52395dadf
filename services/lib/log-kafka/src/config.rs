use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use pushgrid_runtime::config::{Reader, Secret};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// How long a record waits for others.
pub(crate) const LINGER: Duration = Duration::ZERO;
/// Octets of messages that a producer holds until the brokers have them, in units of 1024.
const PRODUCER_KBYTES: u32 = 64 * 1024;
/// Messages that a producer holds: more than an ingress has requests under way.
const PRODUCER_MESSAGES: u32 = 20_000;
/// What is fetched ahead for one partition of the log, in units of 1024. A router that owns a dozen of them holds as
/// many times as much.
const SHARE_KBYTES: u32 = 4 * 1024;
/// The same in messages: what fetching ahead aims at.
const SHARE_MESSAGES: u32 = 2000;
/// What is fetched ahead when the changelog is read, in units of 1024.
const READING_KBYTES: u32 = 16 * 1024;

/// How the brokers are reached, and what the topics have to be like.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of some brokers, joined by commas. Empty when it is not set.
    pub brokers: String,
    /// What the names of topics and of the group begin with.
    pub topic_prefix: String,
    /// How many partitions both topics have.
    pub partitions: u16,
    /// How many brokers hold each partition; 0 for as many as there are, at most 3.
    pub replication: u16,
    /// How many of them must have a record before it counts; 0 for one less than the replication, at least 1.
    pub min_insync: u16,
    /// How long accepted messages are kept, dealt with or not.
    pub retention: Duration,
    /// Encryption and authentication.
    pub security: Security,
    /// The certificates that brokers are verified with; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// The SASL mechanism, by the name that brokers know.
    pub sasl_mechanism: &'static str,
    /// The SASL user.
    pub sasl_username: Option<String>,
    /// Its password.
    pub sasl_password: Option<Secret>,
    /// How long the brokers wait for a router that has fallen silent before they give its partitions to others.
    pub session_timeout: Duration,
    /// How long a record may take to be durable.
    pub append_timeout: Duration,
    /// How long a record waits for others that could travel with it. It is no setting.
    pub linger: Duration,
}

/// Encryption and authentication between a service and the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Neither.
    Plaintext,
    /// Encryption.
    Tls,
    /// Authentication only: the password of the PLAIN mechanism is readable on the wire.
    SaslPlaintext,
    /// Both.
    SaslTls,
}

impl Security {
    const OPTIONS: &[(&str, Self)] = &[
        ("plaintext", Self::Plaintext),
        ("tls", Self::Tls),
        ("sasl_plaintext", Self::SaslPlaintext),
        ("sasl_tls", Self::SaslTls),
    ];

    const fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslTls => "sasl_ssl",
        }
    }

    const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }
}

const MECHANISMS: &[(&str, &str)] =
    &[("plain", "PLAIN"), ("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-512", "SCRAM-SHA-512")];

impl Config {
    /// Reads the settings of the section `kafka`. That there are brokers is checked by [`Self::require`].
    pub fn read(reader: &mut Reader) -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let config = Self {
            brokers: reader.text(
                "kafka.brokers",
                "",
                "Some of the brokers, as host:port joined by commas. Ingress and router need it.",
            ),
            topic_prefix: reader.text(
                "kafka.topic_prefix",
                "pushgrid",
                "What the names of topics and of the group of routers begin with.",
            ),
            partitions: narrow(reader.count(
                "kafka.partitions",
                12,
                1..=4096,
                "Partitions of the topics, shared out among routers. It cannot be changed once there are user agents.",
            )),
            replication: narrow(reader.count(
                "kafka.replication",
                0,
                0..=15,
                "Brokers that hold each partition. 0 for as many as there are, at most 3.",
            )),
            min_insync: narrow(reader.count(
                "kafka.min_insync",
                0,
                0..=15,
                "Brokers that must have a message before it is accepted. 0 for one less than hold it, at least 1.",
            )),
            retention: reader.duration(
                "kafka.retention",
                "7d",
                Duration::from_hours(1)..=days(3650),
                "How long accepted messages are kept: longer than any outage of all routers.",
            ),
            security: reader.choice(
                "kafka.security",
                Security::OPTIONS,
                "plaintext",
                "Encryption and authentication between the services and the brokers.",
            ),
            ca_file: reader
                .optional_text(
                    "kafka.ca_file",
                    "Certificates (PEM) that brokers are verified with. Without it: those of the system.",
                )
                .map(PathBuf::from),
            sasl_mechanism: reader.choice(
                "kafka.sasl_mechanism",
                MECHANISMS,
                "scram-sha-512",
                "How the service proves to the brokers who it is.",
            ),
            sasl_username: reader.optional_text("kafka.sasl_username", "The user that the brokers know."),
            sasl_password: reader.secret("kafka.sasl_password", "Its password."),
            session_timeout: reader.duration(
                "kafka.session_timeout",
                "6s",
                Duration::from_secs(1)..=Duration::from_mins(5),
                "How long a router may be silent before others take its partitions. Brokers want at least 6s unless \
                 told otherwise.",
            ),
            linger: LINGER,
            append_timeout: reader.duration(
                "kafka.append_timeout",
                "10s",
                Duration::from_millis(100)..=Duration::from_mins(2),
                "How long a record may take to be durable before the answer is 503.",
            ),
        };
        config.check(reader);
        config
    }

    /// Checks that there are brokers, for a role that needs them.
    pub fn require(&self, reader: &mut Reader) {
        if self.brokers.is_empty() {
            reader.fault("kafka.brokers", "name the brokers, such as 127.0.0.1:9092");
        }
    }

    fn check(&self, reader: &mut Reader) {
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
        if self.topic_prefix.is_empty()
            || self.topic_prefix.len() > 200
            || !self.topic_prefix.bytes().all(is_name)
        {
            reader.fault("kafka.topic_prefix", "it must be 1 to 200 characters of A-Z, a-z, 0-9, ., _ and -");
        }
        if self.security.has_sasl() {
            if self.sasl_username.is_none() {
                reader.fault("kafka.sasl_username", "kafka.security wants a user");
            }
            if self.sasl_password.is_none() {
                reader.fault("kafka.sasl_password", "kafka.security wants a password");
            }
        }
        if self.replication != 0 && self.min_insync > self.replication {
            reader.fault("kafka.min_insync", "it is more than kafka.replication: nothing would be accepted");
        }
    }

    pub(crate) fn accepted(&self) -> String {
        format!("{}.accepted", self.topic_prefix)
    }

    pub(crate) fn state(&self) -> String {
        format!("{}.state", self.topic_prefix)
    }

    /// The group of routers, and of everything else that reads.
    pub(crate) fn group(&self) -> String {
        format!("{}.router", self.topic_prefix)
    }

    /// What every client has in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "pushgrid")
            .set("security.protocol", self.security.protocol())
            .set("broker.address.family", if self.is_numeric() { "v4" } else { "any" })
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", "5000")
            // A request that hangs is given up while there is time for another, to another broker.
            .set("socket.timeout.ms", millis((self.append_timeout / 2).clamp(SHORTEST, LONGEST)))
            // A broker that comes back is found within a second or so.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set("enable.metrics.push", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(file) = &self.ca_file {
            client.set("ssl.ca.location", file.to_string_lossy());
        }
        if self.security.has_sasl() {
            client
                .set("sasl.mechanism", self.sasl_mechanism)
                .set("sasl.username", self.sasl_username.as_deref().unwrap_or_default())
                .set("sasl.password", self.sasl_password.as_ref().map_or("", Secret::expose));
        }
        client
    }

    /// A producer whose records are durable, once each and in their order, or not there.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", millis(self.append_timeout))
            .set("request.timeout.ms", millis((self.append_timeout / 2).clamp(SHORTEST, LONGEST)))
            .set("queue.buffering.max.messages", PRODUCER_MESSAGES.to_string())
            .set("queue.buffering.max.kbytes", PRODUCER_KBYTES.to_string())
            .set("linger.ms", (self.linger.as_secs_f64() * 1000.0).to_string())
            // Bodies are encrypted, so nothing is gained.
            .set("compression.type", "none");
        client
    }

    /// A consumer that reads what it is told to, and commits nothing by itself.
    fn consumer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", self.group())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_uncommitted")
            .set("check.crcs", "true")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "10");
        client
    }

    /// A member of the group of routers.
    pub(crate) fn member(&self) -> ClientConfig {
        let heartbeat = (self.session_timeout / 3).min(Duration::from_secs(1));
        let mut client = self.consumer();
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(heartbeat))
            .set("max.poll.interval.ms", millis(self.session_timeout.max(Duration::from_mins(5))))
            .set("queued.min.messages", SHARE_MESSAGES.to_string())
            .set("queued.max.messages.kbytes", SHARE_KBYTES.to_string())
            .set("fetch.max.bytes", (SHARE_KBYTES * 1024).to_string())
            .set("statistics.interval.ms", "5000");
        client
    }

    /// A reader of the changelog. It is no member of the group that it names: it never subscribes.
    pub(crate) fn reading(&self) -> ClientConfig {
        let mut client = self.consumer();
        client
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", READING_KBYTES.to_string())
            .set("max.partition.fetch.bytes", (READING_KBYTES * 1024 / 4).to_string());
        client
    }

    /// Whether all brokers are named by IPv4 addresses. Then there is nothing to try at an IPv6 address first.
    fn is_numeric(&self) -> bool {
        self.brokers.split(',').all(|broker| {
            let host = broker.trim().rsplit_once(':').map_or(broker, |(host, _)| host);
            host.parse::<Ipv4Addr>().is_ok()
        })
    }
}

/// Bounds of the time for one request.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn narrow(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
