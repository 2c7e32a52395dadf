//! What the tests of this crate share.

use std::sync::atomic::{AtomicU64, Ordering};

use pushgrid_types::Rng;
use sha2::{Digest, Sha256};

/// Random-looking octets that are the same in every run.
#[derive(Debug)]
pub(crate) struct SeededRng {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Rng for SeededRng {
    fn fill(&self, into: &mut [u8]) {
        for chunk in into.chunks_mut(32) {
            let turn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let block = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(turn.to_be_bytes());
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
        }
    }
}

/// A member of the shared vectors, by its path.
pub(crate) fn vector(path: &[&str]) -> String {
    let all: serde_json::Value = serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap();
    path.iter().fold(&all, |value, name| &value[*name]).as_str().unwrap().to_owned()
}

/// A member of the shared vectors that is written in base64url, decoded.
pub(crate) fn vector_octets(path: &[&str]) -> Vec<u8> {
    crate::text::decode_strictly(&vector(path)).unwrap()
}

/// The text with another letter at a place.
pub(crate) fn with_letter(text: &str, at: usize, letter: char) -> String {
    text.chars().enumerate().map(|(place, own)| if place == at { letter } else { own }).collect()
}
