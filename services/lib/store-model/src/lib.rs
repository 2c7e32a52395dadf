//! Models of the seams, and one conformance suite for every adapter and model. For tests alone: no service is
//! built with this crate.
//!
//! [`memory`] holds each seam in memory, exact and plain; [`conformance`] is the suite run by every adapter
//! and every model.

pub mod conformance;
pub mod memory;
