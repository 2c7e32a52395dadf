//! The words every other crate speaks: identifiers, the values of a push message, limits, time and chance.
//!
//! Nothing here does I/O, and nothing here knows a protocol or a store.
//!
//! Invariant: a value of these types is valid. Whoever holds a [`Topic`] or a [`Ttl`] need not check it again.
//! Invariant: `Debug` of an identifier that works as a capability shows a fingerprint, never the identifier.

mod broadcast;
pub mod cast;
mod chance;
mod clock;
mod close_reason;
mod id;
pub mod limits;
mod message;
mod outcome;
mod receipt;
mod receipt_request;
mod replace;
mod restriction;
mod topic;
mod trace;
mod ttl;
mod urgency;
mod webhook;

pub use broadcast::{
    AskedBroadcast, BroadcastId, BroadcastVersion, InvalidBroadcastId, InvalidBroadcastVersion,
};
pub use chance::{Rng, SystemRng};
pub use clock::{Clock, ClockOffset, ClockVote, KeptTime, ManualClock, SystemClock, Timestamp, WallClock};
pub use close_reason::CloseReason;
pub use id::{
    ChannelId, Epoch, Incarnation, InvalidId, LeaderEpoch, MessageId, MessageRef, NodeId, Partition,
    Position, Sequence, SessionId, SessionRef, SubscriptionRef, UserAgentId,
};
pub use message::{Content, Message};
pub use outcome::{DropReason, Outcome, ReceiptStatus};
pub use receipt::Receipt;
pub use receipt_request::ReceiptRequest;
pub use replace::{InvalidReplaceKey, ReplaceKey};
pub use restriction::{ApplicationId, Restriction, SigningKeyHash, VapidKeyHash};
pub use topic::{InvalidTopic, Topic};
pub use trace::{InvalidTraceParent, TraceParent};
pub use ttl::{InvalidTtl, Ttl};
pub use urgency::{InvalidUrgency, Urgency};
pub use webhook::WebhookUrl;
