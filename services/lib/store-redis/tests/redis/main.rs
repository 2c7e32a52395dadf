//! Against real servers: they are started by each test on free ports of the loopback interface, keep nothing, and end
//! with it. Where the programs `redis-server`, `redis-cli` and `openssl` are missing, the tests fail.

mod channels;
mod cluster;
mod completeness;
mod conformance;
mod discard;
mod faults;
mod fencing;
mod first_release;
mod limits;
mod secured;
mod sentinel;
mod servers;
mod strange;
mod strangers;
mod support;
