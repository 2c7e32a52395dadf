//! The words every other crate speaks: identifiers, the values of a push message, limits, time and chance.
//!
//! Nothing here does I/O, and nothing here knows a protocol or a store.
//!
//! Invariant: a value of these types is valid. Whoever holds a [`Topic`] or a [`Ttl`] need not check it again.
//! Invariant: `Debug` of an identifier that works as a capability shows a fingerprint, never the identifier.

mod chance;
mod clock;
mod id;
pub mod limits;
mod message;
mod outcome;
mod topic;
mod trace;
mod ttl;
mod urgency;

pub use chance::{Rng, SystemRng};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use id::{
    ChannelId, Epoch, Incarnation, InvalidId, MessageId, MessageRef, NodeId, Partition, Position, Sequence,
    SessionId, SessionRef, SubscriptionRef, Tenure, UserAgentId,
};
pub use message::{Content, Message, VapidKeyHash};
pub use outcome::{DropReason, Outcome};
pub use topic::{InvalidTopic, Topic};
pub use trace::{InvalidTraceParent, TraceParent};
pub use ttl::{InvalidTtl, Ttl};
pub use urgency::{InvalidUrgency, Urgency};
