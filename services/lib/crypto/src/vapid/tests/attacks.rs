//! Fields that the fixtures do not have: made at run time, many of them at random.

use super::*;
use crate::testing::with_letter;

fn status(authorization: &[&str], crypto_key: &[&str]) -> Result<bool, VapidError> {
    verifier().verify(authorization, crypto_key, NOW).map(|verified| verified.is_some())
}

/// A signed token with these two parts, for [`pair`] 1.
fn signed(header: &str, claims: &str) -> String {
    use p256::ecdsa::signature::Signer;
    let secret = crate::curve::random_secret(&SeededRng::new(1));
    let signed = format!("{}.{}", text::encode(header.as_bytes()), text::encode(claims.as_bytes()));
    let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(&secret).sign(signed.as_bytes());
    format!("vapid t={signed}.{}, k={}", text::encode(&signature.to_bytes()), pair(1).public().to_text())
}

fn claims(members: &str) -> Result<bool, VapidError> {
    let claims = format!("{{\"aud\":\"{ORIGIN}\",\"exp\":1700003600{members}}}");
    status(&[&signed(r#"{"alg":"ES256"}"#, &claims)], &[])
}

// Holds: C-07.
#[test]
fn no_authorization_is_nobody_and_two_are_malformed() {
    let field = authorization(&pair(1));
    assert_eq!(status(&[], &[]), Ok(false));
    assert_eq!(status(&[&field], &[]), Ok(true));
    let fault = status(&[&field, &field], &[]).unwrap_err();
    assert_eq!((&fault, fault.status()), (&VapidError::SeveralAuthorizations, Status::Malformed));
    // Proof of a key in Crypto-Key alone is no authentication.
    let crypto_key = format!("p256ecdsa={}", pair(1).public().to_text());
    assert_eq!(status(&[], &[&crypto_key]), Ok(false));
}

// Holds: C-58.
#[test]
fn another_scheme_is_told_which_one_to_use() {
    for other in ["", " ", "Basic dTpw", "key=AIza", "vapidt=x, k=y", "Digest t=x, k=y"] {
        let fault = status(&[other], &[]).unwrap_err();
        assert_eq!((&fault, fault.status()), (&VapidError::OtherScheme, Status::Unauthorized), "{other:?}");
        assert!(fault.to_string().contains("Authorization: vapid t="), "{fault}");
    }
}

// Holds: C-56.
#[test]
fn a_key_in_crypto_key_beside_vapid_must_be_the_same_key() {
    let field = authorization(&pair(1));
    let same = pair(1).public().to_text();
    let other = pair(2).public().to_text();
    for good in ["dh=BAAA", &format!("p256ecdsa={same}"), &format!("dh=BAAA;p256ecdsa=\"{same}=\"")] {
        assert_eq!(status(&[&field], &[good]), Ok(true), "{good}");
    }
    assert_eq!(status(&[&field], &["dh=BAAA", &format!("p256ecdsa={same}")]), Ok(true));
    for bad in [&format!("p256ecdsa={other}"), "p256ecdsa=", "p256ecdsa=x"] {
        let fault = status(&[&field], &[bad]).unwrap_err();
        assert_eq!((&fault, fault.status()), (&VapidError::DifferentKeys, Status::Malformed), "{bad}");
    }
    let twice = format!("p256ecdsa={same},p256ecdsa={same}");
    assert_eq!(status(&[&field], &[&twice]), Err(VapidError::RepeatedParameter));
}

// Holds: C-51, C-52, C-54.
#[test]
fn the_schemes_of_the_drafts_take_the_key_from_crypto_key() {
    let vapid = authorization(&pair(1));
    let token = vapid.strip_prefix("vapid t=").unwrap().split(',').next().unwrap();
    let [same, other] = [1, 2].map(|seed| format!("p256ecdsa={}", pair(seed).public().to_text()));
    for scheme in ["WebPush", "webpush", "Bearer"] {
        let field = format!("{scheme}  {token} ");
        assert_eq!(status(&[&field], &[&same]), Ok(true), "{scheme}");
        assert_eq!(status(&[&field], &["dh=BAAA", &same]), Ok(true), "{scheme}");
        assert_eq!(status(&[&field], &[&other]), Err(VapidError::WrongSignature), "{scheme}");
        assert_eq!(status(&[&field], &["dh=BAAA"]), Err(VapidError::MissingCryptoKey), "{scheme}");
        assert_eq!(status(&[scheme], &[&same]), Err(VapidError::NotThreeParts), "{scheme}");
    }
}

// Holds: C-17, C-18, C-19, C-21.
#[test]
fn times_are_taken_with_their_leeway_and_no_further() {
    let at = |exp: u64, nbf: &str| {
        let claims = format!("{{\"aud\":\"{ORIGIN}\",\"exp\":{exp}{nbf}}}");
        status(&[&signed(r#"{"alg":"ES256"}"#, &claims)], &[])
    };
    let now = NOW.as_secs();
    let day = 24 * 60 * 60;
    for (exp, expected) in [
        (now - 60, Ok(true)),
        (now - 61, Err(VapidError::Expired)),
        (now + day + 120, Ok(true)),
        (now + day + 121, Err(VapidError::ExpiryTooFar)),
        (0, Err(VapidError::Expired)),
        (u64::MAX, Err(VapidError::ExpiryTooFar)),
    ] {
        assert_eq!(at(exp, ""), expected, "{exp}");
    }
    assert_eq!(at(now + 60, &format!(",\"nbf\":{}", now + 120)), Ok(true));
    assert_eq!(at(now + 60, &format!(",\"nbf\":{}", now + 121)), Err(VapidError::NotYetValid));
    assert_eq!(at(now + 60, ",\"nbf\":-1e308"), Ok(true));
    assert_eq!(at(now + 60, ",\"nbf\":null"), Err(VapidError::MalformedNotBefore));
}

// Holds: C-22, C-31.
#[test]
fn nesting_and_repeated_names_are_refused_within_the_longest_token_too() {
    assert_eq!(claims(""), Ok(true));
    assert_eq!(claims(&format!(",\"x\":{}{}", "[".repeat(100), "]".repeat(100))), Ok(true));
    assert_eq!(
        claims(&format!(",\"x\":{}{}", "[".repeat(1300), "]".repeat(1300))),
        Err(VapidError::MalformedClaims)
    );
    assert_eq!(claims(",\"x\":1,\"x\":1"), Err(VapidError::MalformedClaims));
    assert_eq!(claims(",\"x\":{\"y\":1,\"y\":1}"), Err(VapidError::MalformedClaims));
    let good = format!("{{\"aud\":\"{ORIGIN}\",\"exp\":1700003600}}");
    for (header, expected) in [
        (r#"{"alg":"ES256","alg":"ES256"}"#, VapidError::MalformedHeader),
        (r#"{"alg":["ES256"]}"#, VapidError::WrongAlgorithm),
        (r#"{"alg":"ES256","crit":null}"#, VapidError::CriticalExtension),
    ] {
        assert_eq!(status(&[&signed(header, &good)], &[]), Err(expected), "{header}");
    }
}

// Holds: C-31.
#[test]
fn what_is_too_long_is_refused_unread() {
    let field = authorization(&pair(1));
    let longer = |length: usize| format!("{field}, x={}", "x".repeat(length));
    assert_eq!(status(&[&longer(4000)], &[]), Ok(true));
    assert_eq!(status(&[&longer(8192)], &[]), Err(VapidError::TooLong));
    assert_eq!(claims(&format!(",\"x\":\"{}\"", "x".repeat(2800))), Ok(true));
    assert_eq!(claims(&format!(",\"x\":\"{}\"", "x".repeat(3000))), Err(VapidError::TooLong));
}

proptest! {
    // Each case signs and verifies, which an unoptimised build does slowly.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_token_with_any_character_changed_is_refused(at in 0..500_usize, other in "[A-Za-z0-9_.-]") {
        let field = authorization(&pair(1));
        let start = "vapid t=".len();
        let end = field.find(',').unwrap();
        let at = start + at % (end - start);
        let changed = format!("{}{other}{}", &field[..at], &field[at + 1..]);
        prop_assume!(changed != field);
        let verifier = verifier();
        // Also when the good one is remembered.
        prop_assert!(verifier.verify(&[&field], &[], NOW).is_ok());
        let fault = verifier.verify(&[&changed], &[], NOW).unwrap_err();
        prop_assert_eq!(fault.status(), Status::Forbidden);
    }

    #[test]
    fn a_field_with_any_character_changed_never_speaks_for_another_key(at: prop::sample::Index, other: char) {
        let field = authorization(&pair(1));
        let changed = with_letter(&field, at.index(field.len()), other);
        if let Ok(Some(verified)) = verifier().verify(&[&changed], &[], NOW) {
            prop_assert_eq!(verified.key, pair(1).public());
        }
    }

    #[test]
    fn no_text_makes_it_panic(scheme in "vapid|webpush|bearer|", rest: String, crypto_key: String) {
        let field = format!("{scheme} {rest}");
        prop_assert!(verifier().verify(&[&field], &[&crypto_key], NOW).is_err());
        let field = format!("{scheme} t={rest}, k={}", pair(1).public().to_text());
        prop_assert!(verifier().verify(&[&field], &[], NOW).is_err());
    }
}
