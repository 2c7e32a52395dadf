//! The edge for application servers.
//!
//! A request comes in by the routes of a dialect, which reads the request and writes the answer; `webpush` is
//! the dialect of RFC 8030 section 5 and RFC 8292. Between the two stands `accept`, the same for all
//! dialects: the checks in order, then the log.
//!
//! Not here: connections of user agents, and any state about user agents but the answers of the seams.
//!
//! Invariant: a message is said to be accepted only after [`pushgrid_store::EventLog::append`] has returned
//! (promise P1).
//! Invariant: a refused request has changed nothing.
//! Invariant: `accept` knows no dialect and no HTTP.

mod accept;
mod config;
mod figures;
mod limit;
mod request;
mod service;
mod shared;
mod webpush;

pub use config::Config;
pub use service::Ingress;
pub use shared::Deps;

/// Every dialect: each is added or removed by a module and an entry here. The fallback of the routes, one for
/// all, is the one of Web Push.
const DIALECTS: &[service::Dialect] = &[webpush::routes];

#[cfg(test)]
mod tests;
