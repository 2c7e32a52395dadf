//! Against real servers: they are started by each test on free ports of the loopback interface, keep nothing, and end
//! with it. Where the programs `redis-server`, `redis-cli` and `openssl` are missing, the tests fail.

mod cluster;
mod completeness;
mod conformance;
mod faults;
mod fencing;
mod limits;
mod secured;
mod sentinel;
mod servers;
mod support;
