//! Every metric of the service: name, unit, meaning, label keys and label values, in this one file.
//!
//! What is measured goes to a [`Meter`] that is handed down; there is no global recorder. A caller asks the meter for
//! a handle once and keeps it: to use one is an atomic operation.
//!
//! Invariant: every counter and gauge is there, with the value 0, before anything has happened.
//! Invariant: no label value comes from outside: keys and values are words in this file. A debug build panics when a
//! caller uses another; a release build counts it.

use ::metrics::Unit;
use pushgrid_types::Outcome;

mod account;
mod meter;
mod process;

#[cfg(test)]
mod tests;

pub use account::Account;
pub use meter::Meter;

/// What every kind of metric has.
#[derive(Debug)]
pub struct Definition {
    /// The full name.
    pub name: &'static str,
    /// What is counted or measured.
    pub unit: Unit,
    /// The meaning, in a sentence.
    pub help: &'static str,
    /// What it is divided by.
    pub labels: &'static [Label],
}

impl Definition {
    /// Whether `labels` are its labels in their order, each with one of its values.
    fn has_series(&self, labels: &[(&str, &str)]) -> bool {
        let fits = |(label, (key, value)): (&Label, &(&str, &str))| {
            label.key == *key && label.values.contains(value)
        };
        self.labels.len() == labels.len() && self.labels.iter().zip(labels).all(fits)
    }
}

/// A label: its key, and the words that are its values.
#[derive(Debug)]
pub struct Label {
    /// The key.
    pub key: &'static str,
    /// All values.
    pub values: &'static [&'static str],
}

/// A number that only rises.
#[derive(Debug)]
pub struct Counter(pub Definition);

/// A number that rises and falls.
#[derive(Debug)]
pub struct Gauge(pub Definition);

/// A distribution of durations.
#[derive(Debug)]
pub struct Histogram {
    /// Its name and meaning.
    pub definition: Definition,
    /// Upper bounds of its buckets, in seconds.
    pub buckets: &'static [f64],
}

const OUTCOMES: [&str; Outcome::ALL.len()] = {
    let mut words = [""; Outcome::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = Outcome::ALL[index].as_str();
        index += 1;
    }
    words
};

const OUTCOME: Label = Label { key: "outcome", values: &OUTCOMES };

/// Routes of the ingress: posting a message, its message resource, and everything else.
const ROUTE: Label = Label { key: "route", values: &["push", "message", "other"] };

const STATUS: Label = Label {
    key: "status",
    values: &[
        "200", "201", "202", "204", "400", "401", "403", "404", "405", "408", "410", "411", "413", "415",
        "429", "431", "500", "503", "other",
    ],
};

/// Why the ingress refused a message.
const REFUSED: Label = Label {
    key: "reason",
    values: &[
        "token_invalid",
        "subscription_gone",
        "vapid_missing",
        "vapid_invalid",
        "vapid_mismatch",
        "header_invalid",
        "body_too_large",
        "rate_limited",
        "queue_full",
        "timeout",
        "unavailable",
        "internal",
    ],
};

const VERIFICATION: Label = Label { key: "result", values: &["cached", "verified", "refused"] };

const WAY: Label = Label { key: "way", values: &["direct", "stored", "ended"] };

const NODE_REFUSAL: Label = Label { key: "reason", values: &["not_here", "busy"] };

/// Why a socket of a user agent was closed.
const CLOSED: Label = Label {
    key: "reason",
    values: &[
        "client",
        "superseded",
        "resync",
        "no_hello",
        "idle",
        "slow",
        "protocol",
        "too_large",
        "draining",
        "unavailable",
        "io",
    ],
};

const DIRECTION: Label = Label { key: "direction", values: &["in", "out"] };

/// Frames of the autopush protocol, in both directions.
const FRAME: Label = Label {
    key: "kind",
    values: &[
        "hello",
        "register",
        "unregister",
        "notification",
        "ack",
        "nack",
        "ping",
        "broadcast",
        "broadcast_subscribe",
        "invalid",
    ],
};

/// Codes of the autopush `ack`: delivered, undecryptable, not delivered.
const ACK_CODE: Label = Label { key: "code", values: &["none", "100", "101", "102", "other"] };

/// Codes of the autopush `nack`.
const NACK_CODE: Label = Label { key: "code", values: &["none", "301", "302", "303", "other"] };

/// What a process is.
const ROLE: Label = Label { key: "role", values: &["standalone", "ingress", "router", "connection"] };

/// What a breaker stands before.
const DEPENDENCY: Label = Label { key: "dependency", values: &["kafka", "redis", "router"] };

/// The topics of a grid.
const TOPIC: Label = Label { key: "topic", values: &["accepted", "state"] };

/// How a call of Redis failed: it was not done, or nobody knows, or its answer makes no sense.
const FAILURE: Label = Label { key: "kind", values: &["unavailable", "unknown", "corrupt"] };

/// Roles that others have to find.
const MEMBER: Label = Label { key: "role", values: &["router", "connection"] };

/// Calls of sessions that go to a router in batches.
const CALL: Label = Label { key: "call", values: &["settle", "close"] };

/// Why a router gave a connection node up.
const GIVEN_UP: Label =
    Label { key: "reason", values: &["left", "unreachable", "silent", "stranger", "overflow"] };

const VERSION: Label = Label { key: "version", values: &[env!("CARGO_PKG_VERSION")] };

/// Half a millisecond to ten seconds: an answer of the ingress, and a delivery to a user agent that is there.
const LATENCY: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Defines metrics, and a list of them that cannot be incomplete.
macro_rules! define {
    ($all:ident: Histogram { $($id:ident = $name:literal, $help:literal, $buckets:expr;)* }) => {
        $(
            #[doc = $help]
            pub static $id: Histogram = Histogram {
                definition: Definition { name: $name, unit: Unit::Seconds, help: $help, labels: &[] },
                buckets: $buckets,
            };
        )*
        const $all: &[&Histogram] = &[$(&$id),*];
    };
    ($all:ident: $kind:ident { $($id:ident = $name:literal, $help:literal, [$($label:expr),*];)* }) => {
        $(
            #[doc = $help]
            pub static $id: $kind =
                $kind(Definition { name: $name, unit: Unit::Count, help: $help, labels: &[$($label),*] });
        )*
        const $all: &[&$kind] = &[$(&$id),*];
    };
}

/// The entries of the account of promise P2.
const ENTRIES: [&str; Outcome::ALL.len() + 2] = {
    let mut words = ["accepted"; Outcome::ALL.len() + 2];
    words[1] = "pending";
    let mut index = 0;
    while index < OUTCOMES.len() {
        words[index + 2] = OUTCOMES[index];
        index += 1;
    }
    words
};

const ENTRY: Label = Label { key: "entry", values: &ENTRIES };

define! { COUNTERS: Counter {
    MESSAGES_ACCEPTED = "pushgrid_messages_accepted_total", "Messages accepted, durably.", [];
    MESSAGES_ENDED = "pushgrid_messages_ended_total", "Messages that ended, by outcome.", [OUTCOME];
    INGRESS_REQUESTS = "pushgrid_ingress_requests_total", "Requests answered.", [ROUTE, STATUS];
    INGRESS_REFUSED = "pushgrid_ingress_refused_total", "Messages refused, by reason.", [REFUSED];
    VAPID_VERIFICATIONS = "pushgrid_vapid_verifications_total", "VAPID tokens checked.", [VERIFICATION];
    ROUTER_ROUTED = "pushgrid_router_routed_total",
        "Messages routed: to a socket, to the mailbox, or to their end.", [WAY];
    NODE_REFUSALS = "pushgrid_node_refusals_total", "Messages that a connection node did not take.", [NODE_REFUSAL];
    CONNECTION_OPENED = "pushgrid_connection_opened_total", "Sockets of user agents opened.", [];
    CONNECTION_CLOSED = "pushgrid_connection_closed_total", "Sockets of user agents closed, by reason.", [CLOSED];
    CONNECTION_FRAMES = "pushgrid_connection_frames_total", "Protocol frames.", [DIRECTION, FRAME];
    CONNECTION_ACKS = "pushgrid_connection_acks_total", "Acknowledgements of user agents, by code.", [ACK_CODE];
    CONNECTION_NACKS = "pushgrid_connection_nacks_total",
        "Negative acknowledgements of user agents, by code.", [NACK_CODE];
    ROUTER_TAKEOVERS = "pushgrid_router_takeovers_total", "Partitions that this router was assigned.", [];
    LOG_OCTETS = "pushgrid_log_octets_total",
        "Octets of records appended to Kafka: keys, headers and values.", [TOPIC];
    LOG_SKIPPED = "pushgrid_log_skipped_total", "Records of the log that are not ours, and were passed over.", [];
    REDIS_CALLS = "pushgrid_redis_calls_total", "Calls of Redis.", [];
    REDIS_FAILURES = "pushgrid_redis_failures_total", "Calls of Redis that failed.", [FAILURE];
    REDIS_MICROSECONDS = "pushgrid_redis_microseconds_total", "Time that calls of Redis took, in microseconds.", [];
    CALLS = "pushgrid_link_batched_calls_total", "Calls of sessions that were sent to routers in batches.", [CALL];
    BATCHES = "pushgrid_link_batches_total", "Batches of calls sent to routers.", [CALL];
    FRAMES = "pushgrid_link_frames_total",
        "Batches of messages and evictions sent to connection nodes, repeats included.", [];
    NODES_GIVEN_UP = "pushgrid_link_nodes_given_up_total",
        "Connection nodes whose sessions were given up, by reason.", [GIVEN_UP];
    STORE_COMMITS = "pushgrid_store_commits_total", "Commits of the embedded store.", [];
} }

define! { GAUGES: Gauge {
    ACCOUNT = "pushgrid_account",
        "The account of all messages ever accepted, exact across restarts: accepted = pending + all outcomes, summed over all routers.",
        [ENTRY];
    MESSAGES_PENDING = "pushgrid_messages_pending", "Messages accepted that have not ended.", [];
    ROUTER_PARTITIONS = "pushgrid_router_partitions", "Partitions that this router owns.", [];
    ROUTER_BUSY = "pushgrid_router_partitions_busy",
        "Partitions of this router that are being taken over, or whose view is being rebuilt.", [];
    ROUTER_CATCH_UP = "pushgrid_router_catch_up_remaining",
        "Changes that the views of this router's partitions have not been told yet, while they are being rebuilt.", [];
    PARTITION_QUEUE = "pushgrid_partition_queue",
        "Changes that wait for the writers of this router's partitions.", [];
    PARTITION_WINDOW = "pushgrid_partition_window",
        "Messages from the oldest that is not dealt with to the newest that was read, over this router's partitions.", [];
    PARTITION_WAITING = "pushgrid_partition_waiting",
        "Messages in the mailboxes of this router's partitions.", [];
    LINK_QUEUE = "pushgrid_link_queue", "Messages on their way to connection nodes that have not been answered.", [];
    ROUTER_SESSIONS = "pushgrid_router_sessions", "Sessions open at the router.", [];
    ROUTER_IN_FLIGHT = "pushgrid_router_in_flight", "Messages sent to a socket and not acknowledged.", [];
    ROUTER_QUEUE = "pushgrid_router_queue", "Messages on their way from the log to the mailbox.", [];
    CONNECTION_SOCKETS = "pushgrid_connection_sockets", "Sockets of user agents open now.", [];
    ROLE_INFO = "pushgrid_role", "Is 1 for what the process is.", [ROLE];
    BREAKER_OPEN = "pushgrid_breaker_open",
        "Whether calls are refused at once because the ones before failed: 1 or 0.", [DEPENDENCY];
    LOG_IN_FLIGHT = "pushgrid_log_in_flight", "Records on their way to Kafka.", [TOPIC];
    REDIS_IN_FLIGHT = "pushgrid_redis_in_flight", "Calls of Redis under way.", [];
    ROUTER_LAG = "pushgrid_router_lag",
        "Messages in the log that the router has not read yet, of the partitions that it owns.", [];
    MEMBERS = "pushgrid_members", "Members of the grid, as this process knows them.", [MEMBER];
    MEMBERS_STALE = "pushgrid_members_stale",
        "1 while the members of the grid cannot be asked for, and the last known ones stay.", [];
    STREAMS = "pushgrid_link_node_streams", "Connection nodes that this router has a stream to.", [];
    BUILD_INFO = "pushgrid_build_info", "Always 1; its label says which version runs.", [VERSION];
} }

define! { HISTOGRAMS: Histogram {
    INGRESS_REQUEST_SECONDS = "pushgrid_ingress_request_seconds",
        "Time from the head of a request to its answer.", LATENCY;
    DELIVERY_SECONDS = "pushgrid_delivery_seconds",
        "Time from the acceptance of a message to its acknowledgement by the user agent.", LATENCY;
} }

/// A metric of the process itself, read when it is asked for: name, Prometheus type, unit and meaning.
struct ProcessMetric(&'static str, &'static str, Unit, &'static str);

/// Named and meant as in the Prometheus client libraries.
const PROCESS: [ProcessMetric; 5] = [
    ProcessMetric("process_resident_memory_bytes", "gauge", Unit::Bytes, "Resident memory."),
    ProcessMetric("process_cpu_seconds_total", "counter", Unit::Seconds, "Processor time, user and system."),
    ProcessMetric("process_open_fds", "gauge", Unit::Count, "Open file descriptors."),
    ProcessMetric("process_max_fds", "gauge", Unit::Count, "Limit of open file descriptors."),
    ProcessMetric(
        "process_start_time_seconds",
        "gauge",
        Unit::Seconds,
        "When the process started, since 1970.",
    ),
];
