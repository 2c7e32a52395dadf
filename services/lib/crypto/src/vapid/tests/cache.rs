//! What is remembered, for how long, and that nothing else is.

use super::*;

fn counts(verifier: &Verifier) -> (u64, u64) {
    let VerifierCounts { hits, misses } = verifier.counts();
    (hits, misses)
}

// Holds: C-33.
#[test]
fn a_thousand_requests_with_one_token_verify_once() {
    let verifier = verifier();
    let field = authorization(&pair(1));
    for _ in 0..1000 {
        let sender = verifier.verify(&[&field], &[], NOW).unwrap().unwrap();
        assert_eq!((sender.key, sender.hash), (pair(1).public(), pair(1).public().hash()));
    }
    assert_eq!(counts(&verifier), (999, 1));
}

// Holds: C-17, C-33.
#[test]
fn a_remembered_token_dies_when_it_expires() {
    let verifier = verifier();
    let field = authorization(&pair(1));
    let last = NOW.plus(Duration::from_hours(1)).plus(Duration::from_mins(1));
    assert!(verifier.verify(&[&field], &[], NOW).is_ok());
    assert!(verifier.verify(&[&field], &[], last).is_ok());
    assert_eq!(counts(&verifier), (1, 1));
    let after = last.plus(Duration::from_millis(1));
    assert_eq!(verifier.verify(&[&field], &[], after), Err(VapidError::Expired));
    assert_eq!(counts(&verifier), (1, 2));
}

#[test]
fn a_remembered_token_is_not_valid_before_its_time_when_the_clock_steps_back() {
    let verifier = verifier();
    let expires = NOW.plus(Duration::from_hours(24));
    let field = pair(1).authorization(ORIGIN, expires, None);
    assert!(verifier.verify(&[&field], &[], NOW).is_ok());
    let hour_before = Timestamp::from_secs(NOW.as_secs() - 3600);
    assert_eq!(verifier.verify(&[&field], &[], hour_before), Err(VapidError::ExpiryTooFar));
    // The clock is put right: the token is good again, and has to show it.
    assert!(verifier.verify(&[&field], &[], NOW).is_ok());
    assert_eq!(counts(&verifier), (0, 3));
}

// Holds: C-23.
#[test]
fn a_refused_field_is_refused_anew_every_time() {
    let verifier = verifier();
    let field = pair(1).authorization("https://other.example", NOW.plus(Duration::from_mins(1)), None);
    for _ in 0..3 {
        assert!(verifier.verify(&[&field], &[], NOW).is_err());
    }
    assert_eq!(counts(&verifier), (0, 3));
}

// Holds: C-26.
#[test]
fn the_other_good_signature_of_a_token_is_verified_for_itself() {
    let verifier = verifier();
    let now = Timestamp::from_secs(1_453_500_000);
    for token in ["t", "t_with_flipped_s"] {
        let field = format!("vapid t={}, k={}", vector(&["vapid", token]), vector(&["vapid", "k"]));
        assert!(verifier.verify(&[&field], &[], now).is_ok());
    }
    assert_eq!(counts(&verifier), (0, 2));
}

// Holds: C-26.
#[test]
fn a_remembered_token_speaks_only_for_the_key_it_came_with() {
    let verifier = verifier();
    let field = authorization(&pair(1));
    let token = field.strip_prefix("vapid t=").unwrap().split(',').next().unwrap();
    let legacy = format!("WebPush {token}");
    let [same, other] = [1, 2].map(|seed| format!("p256ecdsa={}", pair(seed).public().to_text()));
    assert!(verifier.verify(&[&legacy], &[&same], NOW).is_ok());
    assert_eq!(verifier.verify(&[&legacy], &[&other], NOW), Err(VapidError::WrongSignature));
    assert_eq!(verifier.verify(&[&legacy], &[], NOW), Err(VapidError::MissingCryptoKey));
    assert!(verifier.verify(&[&field], &[], NOW).is_ok());
    assert_eq!(verifier.verify(&[&field], &[&other], NOW), Err(VapidError::DifferentKeys));
}

#[test]
fn the_message_key_in_crypto_key_does_not_make_a_token_new() {
    let verifier = verifier();
    let field = authorization(&pair(1));
    let token = field.strip_prefix("vapid t=").unwrap().split(',').next().unwrap();
    let legacy = format!("WebPush {token}");
    for message in 0..10 {
        let crypto_key = format!("dh=B{message};p256ecdsa={}", pair(1).public().to_text());
        assert!(verifier.verify(&[&legacy], &[&crypto_key], NOW).is_ok());
    }
    assert_eq!(counts(&verifier), (9, 1));
}

#[test]
fn the_memory_is_bounded_and_may_be_none() {
    let none = Verifier::new(Audiences::of(ORIGIN).unwrap(), 0);
    let field = authorization(&pair(1));
    for _ in 0..3 {
        assert!(none.verify(&[&field], &[], NOW).is_ok());
    }
    assert_eq!(counts(&none), (0, 3));
    let few = Verifier::new(Audiences::of(ORIGIN).unwrap(), 4);
    for seed in 0..40 {
        assert!(few.verify(&[&authorization(&pair(seed))], &[], NOW).is_ok());
    }
    assert!(few.remembered() <= 4, "{} remembered", few.remembered());
}

#[test]
fn debug_shows_neither_token_nor_key() {
    let verifier = verifier();
    let field = authorization(&pair(1));
    let sender = verifier.verify(&[&field], &[], NOW).unwrap();
    let shown = format!("{verifier:?} {sender:?} {:?}", pair(1));
    assert_eq!(
        shown,
        "Verifier { counts: VerifierCounts { hits: 0, misses: 1 }, .. } \
         Some(Verified { key: PublicKey(..), hash: VapidKeyHash(..) }) KeyPair(..)"
    );
}
