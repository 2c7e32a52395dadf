//! Key pairs: their texts, and what they sign.

use super::*;

#[test]
fn a_pair_comes_back_from_its_texts() {
    let pair = pair(3);
    for text in [
        pair.to_text(),
        pair.to_pem(),
        format!("  {}=\n", pair.to_text()),
        format!("\n{}\n\n", pair.to_pem()),
    ] {
        let back = KeyPair::from_text(&text).unwrap();
        assert_eq!((back.to_text(), back.public()), (pair.to_text(), pair.public()));
    }
    assert!(pair.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS #8");
}

#[test]
fn pem_as_openssl_writes_it_is_taken() {
    // Keys made for this test. `openssl ecparam -name prime256v1 -genkey`, with the parameters that it writes
    // in front.
    let sec1 = "-----BEGIN EC PARAMETERS-----\n\
        BggqhkjOPQMBBw==\n\
        -----END EC PARAMETERS-----\n\
        -----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIK0CIDRF7qOW6chPbY3akacDEP0TY0T/2QLT0u4E4v4hoAoGCCqGSM49\n\
        AwEHoUQDQgAEHEv2cMGl8Nbnb64F/NkIUu9u/Ylf9cvaC16QAeOlotu3nJlWMt/B\n\
        FhZDWOzCtwcWsO3Tg0XEMgIYPTQ5uOfzaw==\n\
        -----END EC PRIVATE KEY-----";
    let pkcs8 = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrQIgNEXuo5bpyE9t\n\
        jdqRpwMQ/RNjRP/ZAtPS7gTi/iGhRANCAAQcS/ZwwaXw1udvrgX82QhS7279iV/1\n\
        y9oLXpAB46Wi27ecmVYy38EWFkNY7MK3Bxaw7dODRcQyAhg9NDm45/Nr\n\
        -----END PRIVATE KEY-----";
    let public = "BBxL9nDBpfDW52-uBfzZCFLvbv2JX_XL2gtekAHjpaLbt5yZVjLfwRYWQ1jswrcHFrDt04NFxDICGD00Objn82s";
    for pem in [sec1, pkcs8] {
        assert_eq!(KeyPair::from_text(pem).unwrap().public().to_text(), public);
    }
    let p384 = "-----BEGIN PRIVATE KEY-----\n\
        MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAYMbyRr68uRvJAz4o4\n\
        sCM8WrX6te77g6KOPkfknzXRb4JuG4MFPg+yWBP84CpTVpShZANiAATujIoifAYi\n\
        OaBIsUe1aK5kJ7NacBH7AFuVYbf3PtHcH7U5pvXVEMn1XJaFMYUy3jCIwEQ0DQHz\n\
        AItFh5dRzHy7i5IgMu9BiqFHh63SvuRg/PhCHSijneK8Up5vDg0AZh0=\n\
        -----END PRIVATE KEY-----";
    for other in [p384, &sec1[..120], "-----BEGIN "] {
        assert_eq!(KeyPair::from_text(other).unwrap_err(), InvalidKeyPair::Pem);
    }
}

#[test]
fn what_is_no_private_key_is_refused_with_the_reason() {
    for bad in ["", "x", &pair(3).to_text()[1..], &pair(3).public().to_text()] {
        assert_eq!(KeyPair::from_text(bad).unwrap_err(), InvalidKeyPair::NotAKey, "{bad:?}");
    }
    for bad in [[0; 32], [0xff; 32]] {
        assert_eq!(KeyPair::from_text(&text::encode(&bad)).unwrap_err(), InvalidKeyPair::NotAScalar);
    }
}

#[test]
fn the_public_key_of_the_published_example_belongs_to_its_private_key() {
    // RFC 8291 appendix A publishes a pair.
    let pair = KeyPair::from_text(&vector(&["rfc8291", "ua_private"])).unwrap();
    assert_eq!(pair.public().to_text(), vector(&["rfc8291", "ua_public"]));
}

#[test]
fn a_signed_field_holds_what_was_asked_and_is_valid_for_its_origin_only() {
    let expires = NOW.plus(Duration::from_hours(12));
    let field = pair(4).authorization(ORIGIN, expires, Some("mailto:\"ops\"@example.com"));
    let claims = field.split('.').nth(1).and_then(text::decode_strictly).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let expected = serde_json::json!({
        "aud": ORIGIN, "exp": expires.as_secs(), "sub": "mailto:\"ops\"@example.com",
    });
    assert_eq!(claims, expected);
    assert_eq!(verifier().verify(&[&field], &[], NOW).unwrap().unwrap().key, pair(4).public());
    let elsewhere = Verifier::new(Audiences::of("https://other.example").unwrap(), 10);
    let wanted = "https://other.example".into();
    assert_eq!(elsewhere.verify(&[&field], &[], NOW), Err(VapidError::WrongAudience { wanted }));
}

#[test]
fn a_public_key_is_one_key_in_every_text() {
    let key = pair(5).public();
    let text = key.to_text();
    assert_eq!(text.len(), 87);
    for same in [text.clone(), format!("{text}="), text.replace('-', "+").replace('_', "/")] {
        assert_eq!(PublicKey::from_text(&same), Ok(key));
    }
    let verified = Verified { key, hash: key.hash() };
    assert!(verified.holds(&key.hash()) && !verified.holds(&pair(6).public().hash()));
    assert_eq!(PublicKey::from_text("a b"), Err(InvalidPublicKey::NotBase64Url));
    assert_eq!(PublicKey::from_text(&text[..80]), Err(InvalidPublicKey::NotUncompressed));
    assert_eq!(PublicKey::from_text(&"A".repeat(10_000)), Err(InvalidPublicKey::NotUncompressed));
    assert_eq!(PublicKey::from_text(&text::encode(&[4; 65])), Err(InvalidPublicKey::NotOnCurve));
}
