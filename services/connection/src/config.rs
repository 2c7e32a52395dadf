use std::net::SocketAddr;
use std::time::Duration;

use pushgrid_runtime::config::Reader;
use pushgrid_runtime::http;
use pushgrid_session::Limits;
use pushgrid_session::autopush::PingAllowance;

const SHORTEST: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Connections at once. What a machine can hold is less; its limit of open files says so.
const CONNECTIONS: usize = 1_000_000;

/// How user agents are served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where user agents connect: for the caller to bind.
    pub listen: SocketAddr,
    /// How long after the upgrade the hello may take.
    pub hello_timeout: Duration,
    /// How often the server pings, give or take a tenth.
    pub ping_interval: Duration,
    /// How long a user agent may take until anything comes from it after a ping.
    pub pong_timeout: Duration,
    /// How long a user agent may leave what it is sent unread.
    pub write_timeout: Duration,
    /// How long a connection that has been closed waits for the other side.
    pub close_timeout: Duration,
    /// How long a router may take to answer.
    pub router_timeout: Duration,
    /// How long a connection waits for a router to take what its user agent has acknowledged.
    pub router_patience: Duration,
    /// Over which time all connections are closed when the node stops; zero closes them at once.
    pub drain: Duration,
    /// The largest message of a user agent, in octets.
    pub max_frame: usize,
    /// How often a user agent may ping.
    pub pings: PingAllowance,
    /// What each connection may be owed: for [`crate::Node::new`].
    pub queue: Limits,
    /// Bounds of the HTTP that comes before the upgrade, and of connections at once.
    pub http: http::Limits,
}

impl Config {
    /// Reads the settings of section `connection`. `drain` is what [`Self::drain`] is unless it is set: one node of many
    /// takes its time, and a process that is all there is comes back the sooner the better.
    pub fn read(reader: &mut Reader, drain: &'static str) -> Self {
        let listen = reader.address("connection.listen", "127.0.0.1:8081", "Where user agents connect.");
        let http = http::Limits { max_connections: CONNECTIONS, ..http::Limits::default() };
        Self {
            listen,
            hello_timeout: reader.duration(
                "connection.hello_timeout",
                "5s",
                SHORTEST..=HOUR,
                "How long after connecting the hello of a user agent may take.",
            ),
            ping_interval: reader.duration(
                "connection.ping_interval",
                "300s",
                SHORTEST..=DAY,
                "How often the server pings each user agent, give or take a tenth. Shorter finds dead connections sooner, and wakes phones more often.",
            ),
            pong_timeout: reader.duration(
                "connection.pong_timeout",
                "10s",
                SHORTEST..=HOUR,
                "How long a user agent may take to answer a ping.",
            ),
            write_timeout: reader.duration(
                "connection.write_timeout",
                "30s",
                SHORTEST..=HOUR,
                "How long a user agent may leave what it is sent unread before it is cut off.",
            ),
            close_timeout: reader.duration(
                "connection.close_timeout",
                "2s",
                Duration::ZERO..=MINUTE,
                "How long a closed connection waits for the other side to close as well.",
            ),
            router_timeout: reader.duration(
                "connection.router_timeout",
                "10s",
                SHORTEST..=HOUR,
                "How long a router may take to answer before it counts as unavailable.",
            ),
            router_patience: reader.duration(
                "connection.router_patience",
                "60s",
                Duration::ZERO..=HOUR,
                "How long a connection stays open without a router that takes the acknowledgements of its user agent. They come again with the messages when it is closed.",
            ),
            drain: reader.duration(
                "connection.drain",
                drain,
                Duration::ZERO..=HOUR,
                "Over which time all connections are closed when the node stops, so that they do not come back all at once. 0s closes them at once. A connection node of a grid has 10s unless it is set.",
            ),
            max_frame: reader.octets(
                "connection.max_frame",
                "64KiB",
                4096..=1 << 20,
                "The largest message of a user agent.",
            ),
            pings: pings(reader),
            queue: queue(reader),
            http: http::Limits::read_with(reader, "connection", &http),
        }
    }
}

fn queue(reader: &mut Reader) -> Limits {
    let messages = reader.count(
        "connection.queue_messages",
        256,
        1..=100_000,
        "Messages that one connection may be owed: waiting, and sent but not acknowledged.",
    );
    let octets = reader.octets(
        "connection.queue_octets",
        "4MiB",
        4096..=1 << 30,
        "Octets that one connection may be owed: waiting, and sent but not acknowledged.",
    );
    Limits { messages: usize::try_from(messages).unwrap_or(usize::MAX), octets }
}

fn pings(reader: &mut Reader) -> PingAllowance {
    let burst = reader.count(
        "connection.ping_burst",
        30,
        1..=1_000_000,
        "Pings that a user agent may send at once. A flooder is closed.",
    );
    let every = reader.duration(
        "connection.ping_every",
        "1s",
        Duration::ZERO..=HOUR,
        "How long it takes until a user agent may send one more ping. 0s allows any number.",
    );
    PingAllowance { burst: u32::try_from(burst).unwrap_or(u32::MAX), every }
}
