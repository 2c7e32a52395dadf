//! What is measured here, besides [`pushgrid_runtime::metrics::BREAKER_OPEN`].

use metrics::Unit;
use pushgrid_runtime::metrics::{Counter, Definition, Gauge, Label};

const ROLE: Label = Label { key: "role", values: &["router", "connection"] };

const CALL: Label = Label { key: "call", values: &["settle", "close"] };

const GIVEN_UP: Label =
    Label { key: "reason", values: &["left", "unreachable", "silent", "stranger", "overflow"] };

/// How many members there are.
pub(crate) static MEMBERS: Gauge = Gauge(Definition {
    name: "pushgrid_members",
    unit: Unit::Count,
    help: "Members of the grid, as this process knows them.",
    labels: &[ROLE],
});

/// Whether the members are those of a while ago.
pub(crate) static MEMBERS_STALE: Gauge = Gauge(Definition {
    name: "pushgrid_members_stale",
    unit: Unit::Count,
    help: "1 while the members of the grid cannot be asked for, and the last known ones stay.",
    labels: &[],
});

/// Calls of sessions that went to a router together with others.
pub(crate) static CALLS: Counter = Counter(Definition {
    name: "pushgrid_link_batched_calls_total",
    unit: Unit::Count,
    help: "Calls of sessions that were sent to routers in batches.",
    labels: &[CALL],
});

/// How many batches that were.
pub(crate) static BATCHES: Counter = Counter(Definition {
    name: "pushgrid_link_batches_total",
    unit: Unit::Count,
    help: "Batches of calls sent to routers.",
    labels: &[CALL],
});

/// Streams that stand.
pub(crate) static STREAMS: Gauge = Gauge(Definition {
    name: "pushgrid_link_node_streams",
    unit: Unit::Count,
    help: "Connection nodes that this router has a stream to.",
    labels: &[],
});

/// Frames that went to nodes.
pub(crate) static FRAMES: Counter = Counter(Definition {
    name: "pushgrid_link_frames_total",
    unit: Unit::Count,
    help: "Batches of messages and evictions sent to connection nodes, repeats included.",
    labels: &[],
});

/// Nodes whose sessions were given up.
pub(crate) static NODES_GIVEN_UP: Counter = Counter(Definition {
    name: "pushgrid_link_nodes_given_up_total",
    unit: Unit::Count,
    help: "Connection nodes whose sessions were given up, by reason.",
    labels: &[GIVEN_UP],
});
