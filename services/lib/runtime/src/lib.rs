//! The base of every role of the service: configuration, telemetry, readiness, HTTP serving and shutdown.
//!
//! In the order in which a process uses them: [`config`] is read and checked, [`logs`] are installed, [`http::bind`]
//! takes the addresses, [`metrics`] and [`Readiness`] are handed down, [`admin`] and the role's own routes are served
//! by [`http::serve`], and [`Shutdown`] ends all of this. Failures are retried after the pauses of a [`Backoff`], a
//! [`Breaker`] stands before a dependency that may be down, an [`Outage`] keeps the log from telling of every failed
//! request, and [`clock`] has the time.
//!
//! Not here: knowledge of push messages, user agents or stores. The names of the metrics and of the spans are the
//! exception: all stand in [`metrics`] and [`spans`], two places for the operator.
//!
//! Invariant: nothing here is global, except that [`logs::install`] sets the process's one subscriber.
//! Invariant: nothing here logs a request's path, header or body, or the value of a secret setting.
//! Invariant: every wait, queue and buffer is bounded, by a setting or by a named constant.

pub mod admin;
mod backoff;
mod breaker;
pub mod clock;
pub mod config;
pub mod http;
pub mod logs;
pub mod metrics;
mod outage;
mod readiness;
mod shutdown;
pub mod spans;

pub use backoff::Backoff;
pub use breaker::{Admission, Breaker};
pub use outage::Outage;
pub use readiness::{Latch, Readiness};
pub use shutdown::{Shutdown, TaskEnd, Unfinished};
