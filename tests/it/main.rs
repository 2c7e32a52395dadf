//! Tests of the running program: one binary, a module for each behaviour.

mod crash;
mod firefox;
mod grid;
mod history;
mod input;
mod losses;
mod operator;
mod readme;
mod recorded;
mod rolling;
mod senders;
mod structure;
mod wire;
