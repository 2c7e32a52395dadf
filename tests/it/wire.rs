//! The behaviour of the service as seen by its two kinds of clients, one behaviour for each test.
//!
//! Nothing here depends on the inside of the service: the tests use its announced addresses, and its metrics. Nothing
//! is asserted about time, except that each expected event happens in the end, and no expired message is delivered.

mod ack;
mod blind;
pub(crate) mod broadcasts;
mod cancel;
mod empty;
mod hello;
mod http;
mod liveness;
mod notification;
pub(crate) mod party;
pub(crate) mod push;
pub(crate) mod receipts;
mod register;
pub(crate) mod scene;
mod sets;
pub(crate) mod sse;
mod topic;
mod ttl;
mod unseen;
mod urgency;
mod vapid;
mod waiting;
