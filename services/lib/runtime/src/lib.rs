//! What every role of the service runs on: configuration, telemetry, readiness, HTTP serving and shutdown.
//!
//! In the order in which a process uses them: [`config`] is read and checked, [`logs`] are installed, [`http::bind`]
//! takes the addresses, [`metrics`] and [`Readiness`] are handed down, [`admin`] and the role's own routes are
//! served by [`http::serve`], and [`Shutdown`] ends it all. A [`Breaker`] stands before what may be down.
//!
//! What is not here: anything that knows a push message, a user agent or a store. The names of the metrics are the
//! exception: they stand together in [`metrics`], so that an operator finds them in one place.
//!
//! Invariant: nothing here is global, except that [`logs::install`] sets the process's one subscriber.
//! Invariant: nothing here logs a request's path, header or body, or the value of a setting that is a secret.
//! Invariant: every wait, queue and buffer is bounded, by a setting or by a named constant.

pub mod admin;
mod breaker;
pub mod config;
pub mod http;
pub mod logs;
pub mod metrics;
mod readiness;
mod shutdown;

pub use breaker::Breaker;
pub use readiness::{Latch, Readiness};
pub use shutdown::{Shutdown, TaskEnd, Unfinished};
