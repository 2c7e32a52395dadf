//! Settings: the section `ingress`.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use pushgrid_runtime::config::Reader;
use pushgrid_runtime::http::Limits;
use pushgrid_types::cast::saturating;
use pushgrid_types::{Ttl, limits};

/// Settings of an ingress.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the listener.
    pub listen: std::net::SocketAddr,
    /// The origin of endpoints; `None` means the address of the listener, as `localhost`.
    pub public_url: Option<String>,
    /// Bound of the cache of verified VAPID tokens.
    pub vapid_cache: u64,
    pub(crate) max_body: usize,
    pub(crate) max_ttl: Ttl,
    pub(crate) gone_status: StatusCode,
    /// Status for a sender whose VAPID does not do.
    pub(crate) vapid_status: StatusCode,
    pub(crate) require_vapid: bool,
    pub(crate) require_encryption: bool,
    pub(crate) append_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) rate: Option<Rate>,
    pub(crate) max_waiting_messages: u64,
    pub(crate) max_waiting_octets: u64,
    /// Receipts of messages.
    pub receipts: Receipts,
    /// Bounds of the connections of application servers.
    pub(crate) http: Limits,
}

/// Settings of receipts (RFC 8030 section 5.1).
#[derive(Debug, Clone)]
pub struct Receipts {
    /// Origin at which application servers read receipts; the caller has a default.
    pub url: Option<String>,
    /// Time that a receipt waits for its application server.
    pub(crate) ttl: Ttl,
    /// Receipts that may wait in one receipt subscription.
    pub(crate) max_waiting: u64,
    /// True if a message with a receipt has to name a receipt subscription.
    pub(crate) require_link: bool,
}

/// Limit of the messages to one user agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

const GONE: &[(&str, StatusCode)] = &[("404", StatusCode::NOT_FOUND), ("410", StatusCode::GONE)];

const FORBIDDEN: &[(&str, StatusCode)] = &[("403", StatusCode::FORBIDDEN), ("401", StatusCode::UNAUTHORIZED)];

impl Config {
    /// Reads the settings of the section `ingress`.
    pub fn read(reader: &mut Reader) -> Self {
        let seconds = Duration::from_secs;
        Self {
            listen: reader.address(
                "ingress.listen",
                "127.0.0.1:8080",
                "Address for application servers: HTTP/1.1, and HTTP/2 without TLS. Put TLS in front of it.",
            ),
            public_url: reader.url(
                "ingress.public_url",
                None,
                "Prefix of endpoints, as application servers see it: https://push.example.com. VAPID tokens \
                 must name it. Without it: http://localhost and the port of ingress.listen.",
            ),
            vapid_cache: reader.count(
                "ingress.vapid_cache",
                100_000,
                0..=10_000_000,
                "Verified VAPID tokens that are remembered until they expire.",
            ),
            //= RFC 8030 section 7.2
            //# Push services MUST NOT return a 413 status code in responses to an entity body that is 4096
            //# bytes or less in size.
            max_body: reader.octets(
                "ingress.max_body",
                "5630",
                limits::BODY_ALWAYS_ACCEPTED..=32 * 1024,
                "Largest message body. RFC 8030 wants at least 4096.",
            ),
            max_ttl: Ttl::from_secs(
                u32::try_from(
                    reader
                        .duration(
                            "ingress.max_ttl",
                            "30d",
                            Duration::ZERO..=seconds(365 * 86_400),
                            "Longest time that a message may wait; a longer TTL is shortened, and the answer says so.",
                        )
                        .as_secs(),
                )
                .unwrap_or(u32::MAX),
            ),
            gone_status: reader.choice(
                "ingress.gone_status",
                GONE,
                "404",
                "Answer for an endpoint whose subscription has ended, or that never had one: 404 as RFC 8030 has it, or 410 as some services do.",
            ),
            vapid_status: reader.choice(
                "ingress.vapid_status",
                FORBIDDEN,
                "403",
                "Answer for VAPID that is not valid, or of another key than the subscription has: 403 as RFC 8292 has it, or 401 as some services do.",
            ),
            require_vapid: reader.switch(
                "ingress.require_vapid",
                false,
                "Requires VAPID of every message, also for subscriptions that are open to all.",
            ),
            require_encryption: reader.switch(
                "ingress.require_encryption",
                true,
                "Requires bodies to be aes128gcm or aesgcm. Browsers drop all others.",
            ),
            append_timeout: reader.duration(
                "ingress.append_timeout",
                "10s",
                Duration::from_millis(10)..=seconds(120),
                "Longest time for a message to become durable before the answer is 503.",
            ),
            body_timeout: reader.duration(
                "ingress.body_timeout",
                "20s",
                Duration::from_millis(10)..=seconds(120),
                "Longest time for an application server to send a body.",
            ),
            max_in_flight: usize::try_from(reader.count(
                "ingress.max_in_flight",
                10_000,
                1..=1_000_000,
                "Requests under way at once; more are answered 503.",
            ))
            .unwrap_or(usize::MAX),
            rate: read_rate(reader),
            max_waiting_messages: reader.count(
                "ingress.max_waiting_messages",
                10_000,
                1..=u64::MAX,
                "Messages that may wait for one user agent; more are answered 429.",
            ),
            max_waiting_octets: reader
                .octets(
                    "ingress.max_waiting_octets",
                    "64MiB",
                    4096..=usize::MAX,
                    "Octets of message bodies that may wait for one user agent; more are answered 429.",
                )
                .try_into()
                .unwrap_or(u64::MAX),
            receipts: Receipts::read(reader),
            http: Limits::read(reader, "ingress"),
        }
    }
}

impl Receipts {
    fn read(reader: &mut Reader) -> Self {
        let seconds = Duration::from_secs;
        Self {
            url: reader.url(
                "ingress.receipts_url",
                None,
                "Where application servers read receipts: scheme and host of connection.listen as they reach it, without a path. Without it, ingress.public_url, or connection.listen if that is not set either.",
            ),
            ttl: Ttl::from_secs(
                saturating::<u32>(
                    reader
                        .duration(
                            "ingress.receipt_ttl",
                            "24h",
                            seconds(1)..=Duration::from_hours(24 * 30),
                            "How long a receipt waits for its application server.",
                        )
                        .as_secs(),
                ),
            ),
            max_waiting: reader.count(
                "ingress.max_waiting_receipts",
                100_000,
                1..=u64::MAX,
                "Receipts that may wait in one receipt subscription; further messages that want one there are answered 429.",
            ),
            require_link: reader.switch(
                "ingress.require_receipt_link",
                false,
                "Answers 429 to messages that want a receipt and name no receipt subscription, instead of making one for each.",
            ),
        }
    }
}

fn read_rate(reader: &mut Reader) -> Option<Rate> {
    let mut count = |key, default, doc| {
        let count = reader.count(key, default, 0..=1_000_000, doc);
        NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let per_second =
        count("ingress.rate", 1000, "Messages a second that one user agent may be sent; 0 for no limit.");
    let burst =
        count("ingress.burst", 10_000, "Messages that one user agent may be sent at once, within the rate.");
    per_second.map(|per_second| Rate { per_second, burst: burst.unwrap_or(NonZeroU32::MIN) })
}
