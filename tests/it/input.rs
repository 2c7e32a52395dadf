//! Bad input: whatever comes in, the answer is clear, nothing panics, nothing that was accepted is lost, and memory
//! stays bounded.
//!
//! [`answers`] and [`vapid`] go through the answer table of the push resource, [`limits`] through what an operator
//! bounds, [`closes`] through the rules by which a WebSocket is closed. [`slow`], [`half_open`] and [`http2`] are the
//! clients that take their time, vanish or flood. [`mutations`] sends thousands of damaged copies of everything that
//! is valid. [`standalone`] is about what only the one process has, whatever is tested otherwise.

mod answers;
mod closes;
mod half_open;
mod http2;
mod limits;
mod mutations;
pub(crate) mod raw;
pub(crate) mod request;
mod scene;
mod slow;
mod standalone;
mod vapid;
mod websocket;
