//! Deterministic damage to octets: by seed, name and number of the mutation.

use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Octets that have broken parsers before.
const NASTY: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"/",
    b"//",
    b"/../",
    b"%00",
    b"%",
    b"?",
    b"#",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b"{}",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\"messageType\":\"hello\",",
    b"\"messageType\":\"ping\",",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: websocket\r\n",
    b"TTL: 0\r\n",
    b"Topic: t\r\n",
    b"Urgency: low\r\n",
    b"Authorization: vapid t=x, k=y\r\n",
    b"Content-Encoding: aesgcm\r\n",
    b"Crypto-Key: dh=",
];

/// Numbers out of range.
const HUGE: &[&[u8]] = &[
    b"2147483648",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999999",
    b"-9223372036854775809",
    b"1e400",
    b"0.00000000000000000000000000001",
];

/// Size of a grown copy: above every limit on the original.
const GROWN: usize = 70 * 1024;

/// Octets shown of a copy.
const SHOWN: usize = 600;

/// One mutation, determined by the seed, the name of the original, and its number.
#[derive(Debug)]
pub(super) struct Damage {
    rng: TestRng,
    made: Vec<u8>,
}

impl Damage {
    pub(super) fn new(seed: u64, what: &str, number: u64) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_le_bytes());
        octets[8..16].copy_from_slice(&number.to_le_bytes());
        for (octet, letter) in octets[16..].iter_mut().zip(what.bytes()) {
            *octet = letter;
        }
        Self { rng: TestRng::from_seed(RngAlgorithm::ChaCha, &octets), made: Vec::new() }
    }

    /// Random number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// Makes a damaged copy of a valid input, perhaps with parts of `others`.
    pub(super) fn to(&mut self, valid: &[u8], others: &[&[u8]]) -> Vec<u8> {
        let mut copy = valid.to_vec();
        // Mostly a single fault, which gets further than several.
        let faults = [1, 1, 1, 1, 2, 3][self.below(6)];
        for _ in 0..faults {
            self.once(&mut copy, others);
        }
        self.sent(&copy);
        copy
    }

    /// Keeps the octets sent, for the message of a failure.
    pub(super) fn sent(&mut self, octets: &[u8]) {
        octets.clone_into(&mut self.made);
    }

    /// Copy in readable form.
    pub(super) fn shown(&self) -> String {
        let shown = &self.made[..self.made.len().min(SHOWN)];
        format!("{} octets: {}", self.made.len(), shown.escape_ascii())
    }

    fn once(&mut self, copy: &mut Vec<u8>, others: &[&[u8]]) {
        if copy.is_empty() {
            copy.extend_from_slice(self.one_of(NASTY));
            return;
        }
        let at = self.below(copy.len());
        let end = at + self.below((copy.len() - at).min(32)) + 1;
        match self.below(24) {
            0..=6 => copy[at] ^= 1 << self.below(8),
            7 | 8 => copy[at] = self.rng.random(),
            9 | 10 => copy.truncate(at),
            11 | 12 => {
                let part = copy[at..end].to_vec();
                insert(copy, end, &part);
            }
            13 | 14 => drop(copy.drain(at..end)),
            15 | 16 => {
                let noise: [u8; 16] = self.rng.random();
                let count = self.below(noise.len()) + 1;
                insert(copy, at, &noise[..count]);
            }
            17..=19 => {
                let nasty = self.one_of(NASTY);
                insert(copy, at, nasty);
            }
            20 => self.enlarge_a_number(copy, at),
            21 | 22 => self.splice(copy, at, end, others),
            _ => self.grow(copy, at, end),
        }
    }

    fn one_of<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len())]
    }

    /// Replaces the next number by one out of range.
    fn enlarge_a_number(&mut self, copy: &mut Vec<u8>, at: usize) {
        let digit = |octet: &u8| octet.is_ascii_digit();
        let from = copy[at..].iter().position(digit).map_or(at, |found| at + found);
        let to = copy[from..].iter().position(|octet| !digit(octet)).map_or(copy.len(), |found| from + found);
        let huge = self.one_of(HUGE);
        drop(copy.splice(from..to, huge.iter().copied()));
    }

    /// Replaces a part by a part of another input.
    fn splice(&mut self, copy: &mut Vec<u8>, at: usize, end: usize, others: &[&[u8]]) {
        let own = copy.clone();
        let other = if others.is_empty() { &own[..] } else { self.one_of(others) };
        let from = self.below(other.len());
        let to = from + self.below(other.len() - from) + 1;
        drop(copy.splice(at..end, other[from..to].iter().copied()));
    }

    /// Repeats a part; rarely until the copy is above every limit.
    fn grow(&mut self, copy: &mut Vec<u8>, at: usize, end: usize) {
        let size = if self.below(4) == 0 { GROWN } else { 2048 };
        let part = copy[at..end].repeat(size.div_ceil(end - at));
        insert(copy, at, &part);
    }
}

fn insert(copy: &mut Vec<u8>, at: usize, part: &[u8]) {
    drop(copy.splice(at..at, part.iter().copied()));
}
