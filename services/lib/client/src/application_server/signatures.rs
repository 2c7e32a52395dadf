//! VAPID signatures of an application server, reused for each push service.
//!
//! Invariant: a signature in use is valid for at least six hours more, and at most 64 are kept.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::Timestamp;

/// Validity of a signature: half of the 24 hours that RFC 8292 section 2 allows, for clocks that differ.
const VALID_FOR: Duration = Duration::from_hours(12);

/// Time that a signature is used: well within the validity.
const USED_FOR: Duration = Duration::from_hours(6);

/// Largest number of push services with a signature kept; beyond it all are forgotten and made anew.
const ORIGINS_MAX: usize = 64;

/// One signature for each push service, made on demand and used for hours: signing costs far more than sending, and a
/// push service can cache a verified token.
pub(super) struct Signatures {
    key: KeyPair,
    subject: Option<String>,
    made: Mutex<HashMap<String, Made>>,
}

struct Made {
    at: Timestamp,
    authorization: HeaderValue,
}

impl Signatures {
    pub(super) fn new(key: KeyPair, subject: Option<String>) -> Self {
        Self { key, subject, made: Mutex::new(HashMap::new()) }
    }

    /// The `Authorization` for a push service.
    pub(super) fn of(&self, origin: &str, now: Timestamp) -> HeaderValue {
        let mut made = self.made.lock();
        // A clock that was set back must not keep a signature for ever.
        if let Some(known) = made.get(origin).filter(|it| it.at <= now && now.since(it.at) < USED_FOR) {
            return known.authorization.clone();
        }
        if made.len() >= ORIGINS_MAX {
            made.clear();
        }
        let text = self.key.authorization(origin, now.plus(VALID_FOR), self.subject.as_deref());
        let mut authorization =
            HeaderValue::from_str(&text).expect("base64url and spaces can stand in a field");
        authorization.set_sensitive(true);
        made.insert(origin.to_owned(), Made { at: now, authorization: authorization.clone() });
        authorization
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn one_signature_serves_an_origin_for_hours_and_no_longer() {
        let signatures = Signatures::new(KeyPair::generate(&SystemRng), None);
        let start = Timestamp::from_secs(1_700_000_000);
        let later = |seconds| start.plus(Duration::from_secs(seconds));
        let first = signatures.of("https://a", start);
        assert_eq!(first, signatures.of("https://a", later(6 * 3600 - 1)));
        assert_ne!(first, signatures.of("https://b", start));
        assert_ne!(first, signatures.of("https://a", later(6 * 3600)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_a_new_one() {
        let signatures = Signatures::new(KeyPair::generate(&SystemRng), None);
        let first = signatures.of("https://a", Timestamp::from_secs(1_700_000_000));
        assert_ne!(first, signatures.of("https://a", Timestamp::from_secs(1_600_000_000)));
    }

    #[test]
    fn no_more_origins_are_remembered_than_the_bound() {
        let signatures = Signatures::new(KeyPair::generate(&SystemRng), None);
        for origin in 0..=ORIGINS_MAX {
            signatures.of(&format!("https://{origin}"), Timestamp::from_secs(1));
        }
        assert!(signatures.made.lock().len() <= ORIGINS_MAX);
    }
}
