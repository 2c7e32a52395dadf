//! The behaviour of the service as its two kinds of clients see it, one behaviour for each test.
//!
//! Nothing here knows how the service is built: the tests use the addresses that it announces, and its metrics.
//! Nothing is asserted about time but that what should come comes in the end, and what has expired does not.

mod ack;
mod blind;
mod cancel;
mod hello;
mod http;
mod liveness;
mod notification;
pub(crate) mod party;
mod register;
pub(crate) mod scene;
mod topic;
mod ttl;
mod vapid;
mod waiting;
