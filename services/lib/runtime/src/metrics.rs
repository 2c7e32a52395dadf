//! Every metric of the service: name, unit, meaning, label keys and label values, in this one file.
//!
//! Measurements go to a [`Meter`] that is handed down; there is no global recorder. A caller asks the meter for a
//! handle once and keeps the handle: each use is an atomic operation.
//!
//! Invariant: every counter and gauge is there, with the value 0, before anything has happened.
//! Invariant: no label value comes from outside: keys and values are words in this file. A debug build panics when a
//! caller uses another; a release build counts it.

use ::metrics::Unit;
use pushgrid_types::{CloseReason, Outcome};

mod account;
mod level;
mod meter;
mod process;

#[cfg(test)]
mod tests;

pub use account::Account;
pub use level::level;
pub use meter::Meter;

/// The parts common to all kinds of metric.
#[derive(Debug)]
pub struct Definition {
    /// The full name.
    pub name: &'static str,
    /// Unit of the values.
    pub unit: Unit,
    /// The meaning, in a sentence.
    pub help: &'static str,
    /// Labels, by which the metric divides into series.
    pub labels: &'static [Label],
}

impl Definition {
    /// True when `labels` are this metric's labels in order, each with a defined value.
    fn has_series(&self, labels: &[(&str, &str)]) -> bool {
        let fits = |(label, (key, value)): (&Label, &(&str, &str))| {
            label.key == *key && label.values.contains(value)
        };
        self.labels.len() == labels.len() && self.labels.iter().zip(labels).all(fits)
    }
}

/// A label: a key, and all words allowed as value.
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
    /// Name and meaning.
    pub definition: Definition,
    /// Upper bounds of the buckets, in seconds.
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

/// Reasons of the ingress to refuse a message.
const REFUSED: Label = Label {
    key: "reason",
    values: &[
        "token_invalid",
        "subscription_gone",
        "vapid_missing",
        "vapid_invalid",
        "vapid_mismatch",
        "credential_missing",
        "credential_mismatch",
        "header_invalid",
        "body_too_large",
        "rate_limited",
        "queue_full",
        "receipts_invalid",
        "receipts_missing",
        "receipts_full",
        "timeout",
        "unavailable",
        "internal",
    ],
};

const VERIFICATION: Label = Label { key: "result", values: &["cached", "verified", "refused"] };

const WAY: Label = Label { key: "way", values: &["direct", "stored", "ended"] };

const NODE_REFUSAL: Label = Label { key: "reason", values: &["not_here", "busy"] };

const CLOSE_REASONS: [&str; CloseReason::ALL.len()] = {
    let mut words = [""; CloseReason::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = CloseReason::ALL[index].as_str();
        index += 1;
    }
    words
};

const CLOSED: Label = Label { key: "reason", values: &CLOSE_REASONS };

const DIRECTION: Label = Label { key: "direction", values: &["in", "out"] };

/// Frames of the autopush protocol, in both directions.
const FRAME: Label = Label {
    key: "kind",
    values: &[
        "hello",
        "register",
        "unregister",
        "unregister_all",
        "notification",
        "ack",
        "nack",
        "ping",
        "broadcast",
        "broadcast_subscribe",
        "urgency",
        "invalid",
    ],
};

/// Codes of the autopush `ack`: delivered, undecryptable, not delivered.
const ACK_CODE: Label = Label { key: "code", values: &["none", "100", "101", "102", "other"] };

/// Codes of the autopush `nack`.
const NACK_CODE: Label = Label { key: "code", values: &["none", "301", "302", "303", "other"] };

/// Roles of a process.
const ROLE: Label = Label { key: "role", values: &["standalone", "ingress", "router", "connection"] };

/// Dependencies behind a breaker.
const DEPENDENCY: Label = Label { key: "dependency", values: &["kafka", "redis", "router"] };

/// The topics of a grid.
const TOPIC: Label = Label { key: "topic", values: &["accepted", "state", "broadcasts"] };

/// Failures of a call to Redis: not done, unknown whether done, or an answer that makes no sense.
const FAILURE: Label = Label { key: "kind", values: &["unavailable", "unknown", "corrupt"] };

/// Roles with an entry among the members.
const MEMBER: Label = Label { key: "role", values: &["router", "connection"] };

/// Calls of sessions that go to a router in batches.
const CALL: Label = Label { key: "call", values: &["settle", "close"] };

/// Reasons of a router to give a connection node up.
const GIVEN_UP: Label =
    Label { key: "reason", values: &["left", "absent", "unreachable", "silent", "stranger", "overflow"] };

/// Ends of an attempt to post to a webhook.
const WEBHOOK_RESULT: Label = Label {
    key: "result",
    values: &["delivered", "gone", "refused_status", "refused_address", "unreachable", "timed_out"],
};

const VERSION: Label = Label { key: "version", values: &[env!("CARGO_PKG_VERSION")] };

/// Half a millisecond to ten seconds: an answer of the ingress, and a delivery to a user agent that is there.
const LATENCY: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Defines metrics, and the complete list of them.
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
    ROUTER_UNSEEN = "pushgrid_router_unseen_total",
        "User agents ended because they had not connected for too long.", [];
    NODE_REFUSALS = "pushgrid_node_refusals_total", "Messages that a connection node did not take.", [NODE_REFUSAL];
    CONNECTION_OPENED = "pushgrid_connection_opened_total", "Sockets of user agents opened.", [];
    CONNECTION_CLOSED = "pushgrid_connection_closed_total", "Sockets of user agents closed, by reason.", [CLOSED];
    CONNECTION_FRAMES = "pushgrid_connection_frames_total", "Protocol frames.", [DIRECTION, FRAME];
    CONNECTION_ACKS = "pushgrid_connection_acks_total", "Acknowledgements of user agents, by code.", [ACK_CODE];
    CONNECTION_NACKS = "pushgrid_connection_nacks_total",
        "Negative acknowledgements of user agents, by code.", [NACK_CODE];
    ROUTER_TAKEOVERS = "pushgrid_router_takeovers_total", "Partitions that this router was assigned.", [];
    PARTITION_RESTORED = "pushgrid_partition_user_agents_restored_total",
        "Times that a user agent was restored from the changelog, for its view could not be read.", [];
    LOG_OCTETS = "pushgrid_log_octets_total",
        "Octets of records appended to Kafka: keys, headers and values.", [TOPIC];
    LOG_SKIPPED = "pushgrid_log_skipped_total",
        "Records in Kafka that are damaged or not ours, and were passed over.", [TOPIC];
    LOG_NEWER = "pushgrid_log_newer_total",
        "Records in Kafka that a newer release wrote: they stay as they are, and were passed over.", [TOPIC];
    VIEWS_DISCARDED = "pushgrid_router_views_discarded_total",
        "Views in Redis that were of another changelog, and were discarded to be rebuilt.", [];
    REDIS_CALLS = "pushgrid_redis_calls_total", "Calls of Redis.", [];
    REDIS_FAILURES = "pushgrid_redis_failures_total", "Calls of Redis that failed.", [FAILURE];
    REDIS_MICROSECONDS = "pushgrid_redis_microseconds_total", "Time that calls of Redis took, in microseconds.", [];
    CALLS = "pushgrid_link_batched_calls_total", "Calls of sessions that were sent to routers in batches.", [CALL];
    BATCHES = "pushgrid_link_batches_total", "Batches of calls sent to routers.", [CALL];
    FRAMES = "pushgrid_link_frames_total",
        "Batches of messages and evictions sent to connection nodes, repeats included.", [];
    NODES_GIVEN_UP = "pushgrid_link_nodes_given_up_total",
        "Connection nodes whose sessions were given up, by reason.", [GIVEN_UP];
    CLOCK_STEPS = "pushgrid_clock_steps_total", "Times that the wall clock was set, by a second or more.", [];
    MEMBERS_PASSED_OVER = "pushgrid_members_passed_over_total",
        "Entries among the members of the grid that this process cannot read: foreign, damaged, or of a newer release.", [];
    WEBHOOK_POSTS = "pushgrid_webhook_posts_total",
        "Attempts to post receipts to webhooks, by result.", [WEBHOOK_RESULT];
    STORE_COMMITS = "pushgrid_store_commits_total", "Commits of the embedded store.", [];
    STORE_DAMAGE_MET = "pushgrid_store_damage_met_total",
        "Reads and changes of the embedded store that have met damage of its file.", [];
    STORE_LOST = "pushgrid_store_lost_messages_total",
        "Messages that a damaged write-ahead log has lost and the operator has given up, as far as they could be counted.", [];
} }

define! { GAUGES: Gauge {
    ACCOUNT = "pushgrid_account",
        "The account of all messages ever accepted, exact across restarts: accepted = pending + all outcomes, summed over all routers.",
        [ENTRY];
    MESSAGES_PENDING = "pushgrid_messages_pending", "Messages accepted that have not ended.", [];
    ROUTER_PARTITIONS = "pushgrid_router_partitions", "Partitions that this router owns.", [];
    ROUTER_BUSY = "pushgrid_router_partitions_busy",
        "Partitions of this router that are being taken over, or whose view is being rebuilt.", [];
    ROUTER_STUCK = "pushgrid_router_partitions_stuck",
        "Partitions assigned to this router that have had no owner that works for longer than `router.stuck_after`.", [];
    ROUTER_CATCH_UP = "pushgrid_router_catch_up_remaining",
        "Changes that the views of this router's partitions have not been told yet, while they are being rebuilt.", [];
    PARTITION_QUEUE = "pushgrid_partition_queue",
        "Changes that wait for the writers of this router's partitions.", [];
    PARTITION_WINDOW = "pushgrid_partition_window",
        "Messages that were read and are not dealt with, and runs between them of those that are, over this router's partitions.", [];
    PARTITION_WAITING = "pushgrid_partition_waiting",
        "Messages in the mailboxes of this router's partitions.", [];
    PARTITION_ASIDE = "pushgrid_partition_user_agents_aside",
        "User agents whose view cannot be read, and that wait to be restored from the changelog, of this router's partitions.",
        [];
    LINK_QUEUE = "pushgrid_link_queue", "Messages on their way to connection nodes that have not been answered.", [];
    ROUTER_SESSIONS = "pushgrid_router_sessions", "Sessions open at the router.", [];
    ROUTER_IN_FLIGHT = "pushgrid_router_in_flight", "Messages sent to a socket and not acknowledged.", [];
    ROUTER_QUEUE = "pushgrid_router_queue", "Messages on their way from the log to the mailbox.", [];
    CONNECTION_SOCKETS = "pushgrid_connection_sockets", "Sockets of user agents open now.", [];
    BROADCASTS = "pushgrid_broadcasts", "Broadcasts that this process knows.", [];
    BRIDGE_UP = "pushgrid_bridge_up", "1 while this process mirrors the broadcasts of an upstream and is connected to it.", [];
    BRIDGE_AGE = "pushgrid_bridge_age_seconds",
        "Time since the upstream was last heard, or since the bridge began; 0 in a process that has no bridge at work.", [];
    ENDPOINT_KEYS = "pushgrid_endpoint_keys",
        "A number that stands for the endpoint keys of this process: the same for every ingress and router of a grid.", [];
    ROLE_INFO = "pushgrid_role", "Is 1 for what the process is.", [ROLE];
    BREAKER_OPEN = "pushgrid_breaker_open",
        "1 while calls are refused at once because earlier ones failed, otherwise 0.", [DEPENDENCY];
    LOG_IN_FLIGHT = "pushgrid_log_in_flight", "Records on their way to Kafka.", [TOPIC];
    REDIS_IN_FLIGHT = "pushgrid_redis_in_flight", "Calls of Redis under way.", [];
    ROUTER_LAG = "pushgrid_router_lag",
        "Messages in the log that the router has not read yet, of the partitions that it owns.", [];
    MEMBERS = "pushgrid_members", "Members of the grid, as this process knows them.", [MEMBER];
    MEMBERS_STALE = "pushgrid_members_stale",
        "1 while the members of the grid cannot be asked for, and the last known ones stay.", [];
    CLOCK_AHEAD = "pushgrid_clock_ahead_seconds",
        "Lead of the time by which messages are judged over the machine's wall clock.", [];
    CLOCK_SKEW = "pushgrid_clock_skew_seconds",
        "Lead of the machine's wall clock over the time of day of most of the grid.", [];
    CLOCK_SKEW_LARGEST = "pushgrid_clock_skew_largest_seconds",
        "The same of the clock that is furthest off, among the members of the grid and Redis.", [];
    STREAMS = "pushgrid_link_node_streams", "Connection nodes that this router has a stream to.", [];
    STORE_FULL = "pushgrid_store_full",
        "1 while the embedded store refuses messages and subscriptions because there is no room for more.", [];
    BUILD_INFO = "pushgrid_build_info", "Always 1; its label says which version runs.", [VERSION];
} }

define! { HISTOGRAMS: Histogram {
    INGRESS_REQUEST_SECONDS = "pushgrid_ingress_request_seconds",
        "Time from the head of a request to its answer.", LATENCY;
    DELIVERY_SECONDS = "pushgrid_delivery_seconds",
        "Time from the acceptance of a message to its acknowledgement by the user agent.", LATENCY;
} }

/// A metric of the process, read at each scrape: name, Prometheus type, unit and meaning.
struct ProcessMetric(&'static str, &'static str, Unit, &'static str);

/// Metrics of the process, with the names and meanings of the Prometheus client libraries.
const PROCESS: [ProcessMetric; 5] = [
    ProcessMetric("process_resident_memory_bytes", "gauge", Unit::Bytes, "Resident memory."),
    ProcessMetric("process_cpu_seconds_total", "counter", Unit::Seconds, "Processor time, user and system."),
    ProcessMetric("process_open_fds", "gauge", Unit::Count, "Open file descriptors."),
    ProcessMetric("process_max_fds", "gauge", Unit::Count, "Limit of open file descriptors."),
    ProcessMetric(
        "process_start_time_seconds",
        "gauge",
        Unit::Seconds,
        "Time of the process's start, since 1970.",
    ),
];
