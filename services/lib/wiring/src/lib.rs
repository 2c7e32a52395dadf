//! Joins the services to their adapters: the only place that knows both.
//!
//! [`standalone`] is all roles in one process over the embedded store. Services are built here, given what they
//! need, and run; they never look for anything by themselves.

pub mod standalone;
