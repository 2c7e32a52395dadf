//! Parts of the tests of the running program: the service as processes, real browsers and senders as processes, and the
//! page that a browser opens.
//!
//! Nothing here asserts anything about the service: assertions are in the modules of `main.rs`.
//!
//! Invariant: a value ends all that it started when dropped, and the output of a process is shown when the test fails.
//! Invariant: every wait has a deadline, and names what did not happen.

mod browser;
mod deadline;
mod fake_clock;
mod log;
mod metrics;
mod nginx;
mod page;
mod ports;
mod programs;
mod push_agent;
mod redis;
mod sender;
mod server;
mod servers;
mod webhook;

pub use browser::{Firefox, Permission};
pub use deadline::{eventually, within};
pub use fake_clock::FakeClock;
pub use metrics::{Accounts, Metrics};
pub use nginx::Nginx;
pub use page::{Event, Page};
pub use ports::Port;
pub use programs::{Pooled, Target, earlier_release, npm_web_push, pooled, pushgrid, pywebpush, target};
pub use push_agent::PushAgent;
pub use redis::Redis;
pub use sender::{Answer, Encoding, Job, Library, Sender};
pub use server::{Backing, Grid, Process, Role, Server, Shape};
pub use servers::Servers;
pub use webhook::Webhook;
