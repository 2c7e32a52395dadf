//! What the tests of the running program are made of: the service as a process, real browsers and real senders
//! as processes, and the page that a browser opens.
//!
//! Nothing here asserts anything about the service: that is what the modules of `main.rs` do.
//!
//! Invariant: whatever a value here starts, it ends when it is dropped, and what the process said is shown when the
//! test fails. Invariant: two tests never meet, for each has its own ports, its own folders and its own processes.
//! Invariant: every wait has a deadline, and names what did not happen.

mod browser;
mod deadline;
mod log;
mod metrics;
mod page;
mod ports;
mod programs;
mod redis;
mod sender;
mod server;
mod servers;

pub use browser::{Firefox, Permission};
pub use deadline::{eventually, within};
pub use metrics::{Accounts, Metrics};
pub use page::{Event, Page};
pub use programs::pushgrid;
pub use redis::Redis;
pub use sender::{Answer, Encoding, Job, Library, Sender};
pub use server::{Backing, Grid, Process, Role, Server, Shape};
pub use servers::Servers;
