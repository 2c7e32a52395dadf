//! Random histories, played to the models and to the real adapters at once: all answers have to be the same.
//!
//! `PROPTEST_CASES` says how many histories are played, `PROPTEST_RNG_SEED` which ones; one that fails is made small,
//! and printed with the seed.

#![expect(clippy::unwrap_used, reason = "a fault of the servers is the failure of the test")]

mod seams;
mod support;
mod view;
