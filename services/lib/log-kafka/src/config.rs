//! Settings of the section `kafka`, and the client configurations made from them.
//! Invariant: producers are idempotent with `acks=all` (promise P1), and no consumer commits by itself.
//! Topics are verified in `topics`.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use pushgrid_runtime::config::{Reader, Secret};
use pushgrid_types::cast::saturating;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// `linger.ms`: wait of a record for a batch.
pub(crate) const LINGER: Duration = Duration::ZERO;
/// `queue.buffering.max.kbytes`, in units of 1024 octets: messages held until the brokers acknowledge them.
const PRODUCER_KBYTES: u32 = 64 * 1024;
/// `queue.buffering.max.messages`: more than an ingress has requests in flight.
const PRODUCER_MESSAGES: u32 = 20_000;
/// Prefetch of one partition of the log, in units of 1024 octets. A router with a dozen partitions holds a
/// dozen times as much.
const SHARE_KBYTES: u32 = 4 * 1024;
/// Prefetch in messages, as a target for librdkafka.
const SHARE_MESSAGES: u32 = 2000;
/// Prefetch of a changelog reading, in units of 1024 octets.
const READING_KBYTES: u32 = 16 * 1024;

/// Settings of brokers and topics.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bootstrap brokers, `host:port` joined by commas; empty when not set.
    pub brokers: String,
    /// Prefix of the names of topics and of the consumer group.
    pub topic_prefix: String,
    /// Partitions of each topic.
    pub partitions: u16,
    /// Replication factor; 0 for as many as there are brokers, at most 3.
    pub replication: u16,
    /// `min.insync.replicas`; 0 for one less than the replication factor, at least 1.
    pub min_insync: u16,
    /// Retention of accepted messages, ended or not.
    pub retention: Duration,
    /// Encryption and authentication.
    pub security: Security,
    /// Certificates (PEM) to verify brokers with; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// SASL mechanism, by the brokers' name for it.
    pub sasl_mechanism: &'static str,
    /// The SASL user.
    pub sasl_username: Option<String>,
    /// The SASL password.
    pub sasl_password: Option<Secret>,
    /// Session time-out of the consumer group: silence of a router after which the partitions go to others.
    pub session_timeout: Duration,
    /// Deadline for a record to be durable.
    pub append_timeout: Duration,
    /// Wait of a record for a batch; other than zero in measurements only. Not a setting.
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
    /// Reads the settings of the section `kafka`. Whether brokers are named is left to [`Self::require`].
    pub fn read(reader: &mut Reader) -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let config = Self {
            brokers: reader.text(
                "kafka.brokers",
                "",
                "Some of the brokers, as host:port joined by commas. Ingress and router need it, and connection nodes for broadcasts.",
            ),
            topic_prefix: reader.text(
                "kafka.topic_prefix",
                "pushgrid",
                "Prefix of the names of topics and of the group of routers.",
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
                "Retention of accepted messages: longer than any outage of all routers.",
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
                "SASL mechanism by which the service authenticates to the brokers.",
            ),
            sasl_username: reader.optional_text("kafka.sasl_username", "The user that the brokers know."),
            sasl_password: reader.secret("kafka.sasl_password", "Its password."),
            session_timeout: reader.duration(
                "kafka.session_timeout",
                "6s",
                Duration::from_secs(1)..=Duration::from_mins(5),
                "Longest silence of a router before others take its partitions. Brokers want at least 6s unless \
                 told otherwise.",
            ),
            linger: LINGER,
            append_timeout: reader.duration(
                "kafka.append_timeout",
                "10s",
                Duration::from_millis(100)..=Duration::from_mins(2),
                "Longest time for a record to become durable before the answer is 503.",
            ),
        };
        config.check(reader);
        config
    }

    /// Reports a fault when no brokers are named. For a role that uses Kafka.
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

    pub(crate) fn broadcasts(&self) -> String {
        format!("{}.broadcasts", self.topic_prefix)
    }

    /// Name of the consumer group, also given to readers outside the group.
    pub(crate) fn group(&self) -> String {
        format!("{}.router", self.topic_prefix)
    }

    /// Client settings common to all.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "pushgrid")
            .set("security.protocol", self.security.protocol())
            .set("broker.address.family", if self.is_numeric() { "v4" } else { "any" })
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", "5000")
            // A hanging request is given up early enough for a retry at another broker.
            .set("socket.timeout.ms", millis((self.append_timeout / 2).clamp(SHORTEST, LONGEST)))
            // Backoff short enough to find a returning broker within about a second.
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

    /// Settings of an idempotent producer: each record is durable once, in order, or absent.
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
            // Bodies are encrypted and do not compress.
            .set("compression.type", "none");
        client
    }

    /// Settings of a consumer that never commits by itself.
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

    /// Settings of a member of the consumer group.
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

    /// Settings of a changelog reading. Such a consumer never subscribes, so is no member of the group.
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

    /// Settings of a reader of the broadcasts, who waits for records without end.
    pub(crate) fn following(&self) -> ClientConfig {
        let mut client = self.consumer();
        client
            .set("enable.partition.eof", "true")
            .set("queued.min.messages", "100")
            .set("queued.max.messages.kbytes", "1024");
        client
    }

    /// Settings of a fetch of one record.
    pub(crate) fn glance(&self) -> ClientConfig {
        let mut client = self.reading();
        client.set("queued.min.messages", "1").set("max.partition.fetch.bytes", "1024");
        client
    }

    /// True when all brokers are IPv4 addresses, so that no IPv6 address need be tried first.
    fn is_numeric(&self) -> bool {
        self.brokers.split(',').all(|broker| {
            let host = broker.trim().rsplit_once(':').map_or(broker, |(host, _)| host);
            host.parse::<Ipv4Addr>().is_ok()
        })
    }
}

/// Bounds of the time-out of one request.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn narrow(count: u64) -> u16 {
    saturating::<u16>(count)
}

#[cfg(test)]
mod tests;
