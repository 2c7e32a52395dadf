use std::time::Duration;

use proptest::prelude::*;
use pushgrid_types::Timestamp;
use serde::Deserialize;

use super::*;
use crate::testing::{SeededRng, vector};
use crate::text;

mod attacks;
mod cache;
mod fixtures;
mod keys;

const ORIGIN: &str = "https://push.example.net";

/// The clock of the fixtures.
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn verifier() -> Verifier {
    Verifier::new(Audiences::of(ORIGIN).unwrap(), 1000)
}

fn pair(seed: u64) -> KeyPair {
    KeyPair::generate(&SeededRng::new(seed))
}

/// A field that is good for an hour from [`NOW`].
fn authorization(pair: &KeyPair) -> String {
    pair.authorization(ORIGIN, NOW.plus(Duration::from_hours(1)), None)
}
