//! Bad input: every answer is clear, nothing panics, no accepted message is lost, and memory stays bounded.
//!
//! [`answers`] and [`vapid`] go through the answer table of the push resource, [`limits`] through the limits of an
//! operator, [`closes`] through the rules by which a WebSocket is closed. [`slow`], [`half_open`] and [`http2`] are
//! clients that are slow, vanish or flood. [`mutations`] sends thousands of damaged copies of valid input.
//! [`connections`] is about the connection after an answer, [`proxy`] about a proxy in front, [`stopping`] about
//! clients that delay a stop. [`standalone`] tests standalone alone, whatever the form under test.

mod answers;
mod closes;
mod connections;
mod half_open;
mod http2;
mod limits;
mod mutations;
mod proxy;
pub(crate) mod raw;
pub(crate) mod request;
mod scene;
mod slow;
mod standalone;
mod stopping;
mod vapid;
mod websocket;
