//! The shared `Authorization` fixtures: attacks and oddities, with the verdict of the standards.

use std::collections::BTreeMap;

use super::*;

#[derive(Deserialize)]
struct Fixtures {
    now: u64,
    aud: String,
    k: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    headers: BTreeMap<String, String>,
    verdict: String,
    /// A status, or the ones that the standards leave a choice of.
    status_restricted: serde_json::Value,
}

/// Decisions where the standards leave a choice: taken or not. The reasons are in the table of the module's
/// documentation.
const POLICY: [(&str, bool); 14] = [
    ("policy_exp_24h_plus_30", true),
    ("policy_sub_not_uri", true),
    ("policy_nbf_plus_30", true),
    ("policy_aud_default_port", true),
    ("policy_aud_trailing_slash", true),
    ("policy_aud_upper_host", true),
    ("policy_k_padded", true),
    ("policy_k_std_b64", true),
    ("legacy_bearer_ck", true),
    ("exp_now", true),
    ("sig_noncanonical_b64", false),
    ("aud_array_mixed", false),
    ("dup_claim_aud", false),
    ("nbf_string", false),
];

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../../../vectors/vapid_fixtures.json")).unwrap()
}

impl Case {
    fn fields(&self, name: &str) -> Vec<&str> {
        self.headers.get(name).map(String::as_str).into_iter().collect()
    }

    /// The answer of a subscription that is restricted to `key`.
    fn status(&self, verifier: &Verifier, key: &PublicKey, now: Timestamp) -> u16 {
        match verifier.verify(&self.fields("Authorization"), &self.fields("Crypto-Key"), now) {
            Ok(None) => 401,
            Ok(Some(sender)) if sender.holds(&key.hash()) => 201,
            Ok(Some(_)) => 403,
            Err(fault) => fault.status().as_u16(),
        }
    }

    fn expected(&self) -> u16 {
        match (self.verdict.as_str(), &self.status_restricted) {
            ("accept", _) => 201,
            ("policy", _) => {
                let decided = POLICY.iter().find(|(name, _)| *name == self.name);
                if decided.unwrap_or_else(|| panic!("{} is not decided", self.name)).1 { 201 } else { 403 }
            }
            // The other one is the HTTP server's, for a field that it never lets through.
            ("reject", serde_json::Value::String(choice)) if choice == "403 or 431" => 403,
            ("reject", status) => u16::try_from(status.as_u64().unwrap()).unwrap(),
            (other, _) => panic!("unknown verdict {other}"),
        }
    }
}

// Holds: C-01, C-02, C-03, C-04, C-05, C-06, C-09, C-10, C-11, C-12, C-13, C-14, C-16, C-17, C-18, C-19.
// Holds: C-20, C-21, C-22, C-24, C-25, C-27, C-28, C-29, C-30, C-31, C-52, C-53, C-54.
#[test]
fn every_fixture_gets_its_verdict_also_when_asked_again() {
    let fixtures = fixtures();
    let key = PublicKey::from_text(&fixtures.k).unwrap();
    let verifier = Verifier::new(Audiences::of(&fixtures.aud).unwrap(), 1000);
    let now = Timestamp::from_secs(fixtures.now);
    let mut verdicts = BTreeMap::new();
    for case in &fixtures.cases {
        for turn in ["first", "second"] {
            assert_eq!(case.status(&verifier, &key, now), case.expected(), "{}, {turn} time", case.name);
        }
        *verdicts.entry(case.verdict.as_str()).or_insert(0) += 1;
    }
    assert_eq!(verdicts, BTreeMap::from([("accept", 23), ("policy", 14), ("reject", 73)]));
}

// Holds: C-23, C-35.
#[test]
fn no_error_shows_anything_that_was_sent() {
    let fixtures = fixtures();
    let verifier = Verifier::new(Audiences::of(&fixtures.aud).unwrap(), 1000);
    let now = Timestamp::from_secs(fixtures.now);
    let mut faults = 0;
    for case in &fixtures.cases {
        let answer = verifier.verify(&case.fields("Authorization"), &case.fields("Crypto-Key"), now);
        let Err(fault) = answer else { continue };
        let shown = format!("{fault} {fault:?}");
        for sent in case.headers.values() {
            let pieces = sent.split(|c: char| !c.is_ascii_alphanumeric()).filter(|piece| piece.len() >= 8);
            for piece in pieces {
                assert!(!shown.contains(&piece[..8]), "{} shows {piece}", case.name);
            }
        }
        faults += 1;
    }
    assert!(faults > 70, "{faults} faults");
}

#[test]
fn faults_that_a_person_can_mend_are_told_apart() {
    let fixtures = fixtures();
    let verifier = Verifier::new(Audiences::of(&fixtures.aud).unwrap(), 1000);
    let now = Timestamp::from_secs(fixtures.now);
    let wanted = || fixtures.aud.as_str().into();
    for (name, expected) in [
        ("scheme_basic", VapidError::OtherScheme),
        ("legacy_webpush_nokey", VapidError::MissingCryptoKey),
        ("empty_value", VapidError::MissingToken),
        ("no_t", VapidError::MissingToken),
        ("no_k", VapidError::MissingKey),
        ("dup_t", VapidError::RepeatedParameter),
        ("dup_k_confusion", VapidError::RepeatedParameter),
        ("k_not_signer", VapidError::WrongSignature),
        ("payload_swapped", VapidError::WrongSignature),
        ("sig_r_zero", VapidError::WrongSignature),
        ("sig_s_ge_n", VapidError::WrongSignature),
        ("sig_der", VapidError::MalformedSignature),
        ("sig_empty", VapidError::MalformedSignature),
        ("sig_whitespace", VapidError::NotBase64Url),
        ("two_segments", VapidError::NotThreeParts),
        ("four_segments", VapidError::NotThreeParts),
        ("jwe_five", VapidError::NotThreeParts),
        ("alg_none", VapidError::WrongAlgorithm),
        ("alg_es256_lower", VapidError::WrongAlgorithm),
        ("alg_hs256_pubkey", VapidError::WrongAlgorithm),
        ("crit_empty", VapidError::CriticalExtension),
        ("hdr_not_object", VapidError::MalformedHeader),
        ("claims_not_object", VapidError::MalformedClaims),
        ("claims_not_utf8", VapidError::MalformedClaims),
        ("dup_claim_exp", VapidError::MalformedClaims),
        ("k_compressed", VapidError::InvalidKey(InvalidPublicKey::NotUncompressed)),
        ("k_spki", VapidError::InvalidKey(InvalidPublicKey::NotUncompressed)),
        ("k_off_curve", VapidError::InvalidKey(InvalidPublicKey::NotOnCurve)),
        ("k_x_ge_p", VapidError::InvalidKey(InvalidPublicKey::NotOnCurve)),
        ("exp_string", VapidError::MissingExpiry),
        ("exp_past", VapidError::Expired),
        ("exp_ms", VapidError::ExpiryTooFar),
        ("nbf_future", VapidError::NotYetValid),
        ("nbf_string", VapidError::MalformedNotBefore),
        ("aud_missing", VapidError::MissingAudience { wanted: wanted() }),
        ("aud_other", VapidError::WrongAudience { wanted: wanted() }),
        ("aud_empty_array", VapidError::WrongAudience { wanted: wanted() }),
        ("oversize_16k", VapidError::TooLong),
        ("deep_json", VapidError::TooLong),
    ] {
        let case = fixtures.cases.iter().find(|case| case.name == name).unwrap();
        let fault =
            verifier.verify(&case.fields("Authorization"), &case.fields("Crypto-Key"), now).unwrap_err();
        assert_eq!(fault, expected, "{name}");
    }
}

// Holds: C-17, C-25.
#[test]
fn the_example_of_rfc_8292_is_valid_with_either_s_until_it_expires() {
    let expires = Timestamp::from_secs(1_453_523_768);
    let verifier = verifier();
    for token in ["t", "t_with_flipped_s"] {
        let field = format!("vapid t={}, k={}", vector(&["vapid", token]), vector(&["vapid", "k"]));
        let at = |now: Timestamp| verifier.verify(&[&field], &[], now).map(Option::unwrap);
        assert_eq!(at(expires).unwrap().key.to_text(), vector(&["vapid", "k"]));
        assert_eq!(at(expires.plus(Duration::from_mins(2))).unwrap_err(), VapidError::Expired);
    }
}
