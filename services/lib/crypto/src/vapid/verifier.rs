//! The entrance to VAPID: from the field lines of a request to the key of the signature, with a cache of verified
//! tokens.
//!
//! Invariant: an entry of the cache counts only within the token's own times, and no refusal is cached. The cache is
//! bounded.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use pushgrid_types::{Timestamp, VapidKeyHash};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::claims::{self, Validity};
use super::credentials::{self, Credentials};
use super::{Audiences, PublicKey, VapidError};

/// The longest `Authorization` field to be read, in octets: the longest token, the key, and room for other
/// parameters.
const AUTHORIZATION_MAX: usize = 8192;

/// Verifies the VAPID authentication of requests, with a cache of verified tokens: senders reuse a token for up to a
/// day, as RFC 8292 section 5 asks. To be shared among threads; never blocks for long.
pub struct Verifier {
    audiences: Audiences,
    remembered: Cache<[u8; 32], Remembered>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// An application server that has proved possession of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The key.
    pub key: PublicKey,
    /// SHA-256 of the key.
    pub hash: VapidKeyHash,
}

/// Hits and misses of the cache since the verifier was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifierCounts {
    /// Requests answered from memory.
    pub hits: u64,
    /// Requests with a new token, valid or not.
    pub misses: u64,
}

#[derive(Clone, Copy)]
struct Remembered {
    verified: Verified,
    validity: Validity,
}

impl Verified {
    /// True when the application server holds the key that a subscription is restricted to (RFC 8292 section 4.2).
    /// Takes constant time.
    pub fn holds(&self, restriction: &VapidKeyHash) -> bool {
        self.hash.0.ct_eq(&restriction.0).into()
    }
}

impl Verifier {
    /// A verifier for tokens of these audiences, which caches at most about `cache_entries` of them, those in use;
    /// zero disables the cache.
    pub fn new(audiences: Audiences, cache_entries: u64) -> Self {
        Self {
            audiences,
            remembered: Cache::new(cache_entries),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Identifies the application server, given all `Authorization` and all `Crypto-Key` field lines of a request.
    /// `Ok(None)` without `Authorization`. An `Authorization` must be valid on open subscriptions too, so senders
    /// notice faults.
    pub fn verify(
        &self,
        authorization: &[&str],
        crypto_key: &[&str],
        now: Timestamp,
    ) -> Result<Option<Verified>, VapidError> {
        let authorization = match authorization {
            [] => return Ok(None),
            [only] => *only,
            [_, _, ..] => return Err(VapidError::SeveralAuthorizations),
        };
        if authorization.len() > AUTHORIZATION_MAX {
            return Err(VapidError::TooLong);
        }
        let advertised = credentials::advertised_key(crypto_key)?;
        let presented = digest(authorization, advertised);
        if let Some(known) = self.remembered.get(&presented) {
            // An entry outlives its token, and the clock may step back: it counts only within the token's own
            // times.
            if known.validity.check(now).is_ok() {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(known.verified));
            }
            self.remembered.invalidate(&presented);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let Credentials { token, key } = Credentials::read(authorization, advertised)?;
        //= RFC 8292 section 2
        //# A push service MUST NOT use information from an invalid token.
        let validity = claims::verify(&token, &key, &self.audiences, now)?;
        let verified = Verified { key, hash: key.hash() };
        self.remembered.insert(presented, Remembered { verified, validity });
        Ok(Some(verified))
    }

    /// Number of cached tokens, once pending tasks of the cache have run.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> u64 {
        self.remembered.run_pending_tasks();
        self.remembered.entry_count()
    }

    /// Hits and misses of the cache so far.
    pub fn counts(&self) -> VerifierCounts {
        VerifierCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

/// Cache key: exactly the inputs of a verification. The `dh` of an `aesgcm` message, in `Crypto-Key` too, is left
/// out, for every message has another. The whole token goes in, because a signature has two valid forms.
fn digest(authorization: &str, advertised: Option<&str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [Some(authorization), advertised] {
        // The length in front, so that no two pairs give the same octets. No key is not an empty key.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hasher.update(length.to_be_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize().into()
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
