//! The bridge: mirrors broadcasts of another push service, the *upstream*, as one user agent of it without an identity
//! and without subscriptions.
//!
//! A Firefox that is moved to a push service of one's own is taken away from the broadcasts of Mozilla's, by which it
//! hears at once of new settings, certificate revocations among them. The bridge brings them back.
//!
//! Not here: which process has the bridge. In a grid all connection nodes have one, and one of them at a time is at work.
//!
//! Invariant: the upstream is told the ids that are mirrored and the versions that are known, and nothing of our user
//! agents.
//! Invariant: at most one connection to the upstream, made anew after growing pauses.

mod config;
mod health;
mod mirror;

pub use config::Config;
pub use mirror::{Bridge, Deps};
