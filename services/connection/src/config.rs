//! The settings of section `connection`.

use std::net::SocketAddr;
use std::time::Duration;

use pushgrid_runtime::config::Reader;
use pushgrid_runtime::http;
use pushgrid_session::Limits;
use pushgrid_session::autopush::PingAllowance;
use pushgrid_types::cast::saturating;

const SHORTEST: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Connections at once. A machine holds fewer, by the limit of open files.
const CONNECTIONS: usize = 1_000_000;

/// Settings of the service for user agents.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for user agents; the caller binds the listener.
    pub listen: SocketAddr,
    /// Time limit for the hello, from the upgrade.
    pub hello_timeout: Duration,
    /// Interval of the server's pings, give or take a tenth.
    pub ping_interval: Duration,
    /// Time limit after a ping for any sign of life from the user agent.
    pub pong_timeout: Duration,
    /// Time limit for a user agent to read its output.
    pub write_timeout: Duration,
    /// Time limit after a close for the other side to close as well.
    pub close_timeout: Duration,
    /// Time limit for an answer of a router.
    pub router_timeout: Duration,
    /// Time limit for a router to confirm acknowledgements of a connection.
    pub router_patience: Duration,
    /// Time over which all connections are closed when the node stops; zero closes them at once.
    pub drain: Duration,
    /// Longest time over which a changed broadcast is sent to those who ask for it.
    pub broadcast_spread: Duration,
    /// The largest message of a user agent, in octets.
    pub max_frame: usize,
    /// Limit on the rate of pings by user agents.
    pub pings: PingAllowance,
    /// Bounds of the messages owed to each connection: for [`crate::Node::new`].
    pub queue: Limits,
    /// Bounds of the HTTP before the upgrade, and of connections at once.
    pub http: http::Limits,
}

impl Config {
    /// Reads the settings of section `connection`. `drain` is the default of [`Self::drain`]: one node of
    /// many takes its time, and a process alone comes back the sooner the better.
    pub fn read(reader: &mut Reader, drain: &'static str) -> Self {
        let listen = reader.address("connection.listen", "127.0.0.1:8081", "Address for user agents.");
        let http = http::Limits { max_connections: CONNECTIONS, ..http::Limits::default() };
        Self {
            listen,
            hello_timeout: reader.duration(
                "connection.hello_timeout",
                "5s",
                SHORTEST..=HOUR,
                "Longest time from connecting to the hello of a user agent.",
            ),
            ping_interval: reader.duration(
                "connection.ping_interval",
                "300s",
                SHORTEST..=DAY,
                "Interval between pings to each user agent (comments, in a stream of events), give or take a tenth. A shorter one finds dead connections sooner, and wakes phones more often.",
            ),
            pong_timeout: reader.duration(
                "connection.pong_timeout",
                "10s",
                SHORTEST..=HOUR,
                "Longest time for a user agent to answer a ping.",
            ),
            write_timeout: reader.duration(
                "connection.write_timeout",
                "30s",
                SHORTEST..=HOUR,
                "Longest time that a user agent may leave messages unread before it is cut off.",
            ),
            close_timeout: reader.duration(
                "connection.close_timeout",
                "2s",
                Duration::ZERO..=MINUTE,
                "Longest wait of a closed connection for the other side to close as well.",
            ),
            router_timeout: reader.duration(
                "connection.router_timeout",
                "10s",
                SHORTEST..=HOUR,
                "Longest time for a router to answer before it counts as unavailable.",
            ),
            router_patience: reader.duration(
                "connection.router_patience",
                "60s",
                Duration::ZERO..=HOUR,
                "Longest time that a connection stays open without a router that takes its acknowledgements. Once it is closed, the messages are redelivered, and acknowledged again.",
            ),
            drain: reader.duration(
                "connection.drain",
                drain,
                Duration::ZERO..=HOUR,
                "Over which time all connections are closed when the node stops, so that they do not come back all at once. 0s closes them at once. A connection node of a grid has 10s unless it is set.",
            ),
            broadcast_spread: reader.duration(
                "connection.broadcast_spread",
                "60s",
                Duration::ZERO..=HOUR,
                "Over which time a changed broadcast is sent to all user agents that ask for it, so that they do not all fetch what has changed at once; at least a hundred of them get it each second. 0s sends it at once.",
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
    Limits { messages: saturating::<usize>(messages), octets }
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
        "Time after which a user agent may send one more ping. 0s allows any number.",
    );
    PingAllowance { burst: saturating::<u32>(burst), every }
}
