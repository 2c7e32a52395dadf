//! The edge that application servers post to (RFC 8030 section 5, RFC 8292).
//!
//! A push message's way, file by file: `push` is the order of the checks; `push::authorize` who sends it;
//! `push::fields` what the header fields ask for; `push::content` what the body is; then it is appended to the log,
//! and `answer` says so. `cancel` takes a message back. Every refusal is a variant of `refusal::Refusal`.
//!
//! What is not here: connections of user agents, and any state about them but what the seams answer.
//!
//! Invariant: a 201 is sent only after [`pushgrid_store::EventLog::append`] has returned (promise P1).
//! Invariant: a request that is refused has changed nothing.

mod cancel;
mod config;
mod figures;
mod limit;
mod push;
mod refusal;
mod service;
mod shared;

pub use config::Config;
pub use service::Ingress;
pub use shared::Deps;
