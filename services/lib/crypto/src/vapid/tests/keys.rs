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
    assert_eq!(KeyPair::from_text(p384).unwrap_err(), InvalidKeyPair::OtherKind);
    for other in [&sec1[..120], "-----BEGIN "] {
        assert_eq!(KeyPair::from_text(other).unwrap_err(), InvalidKeyPair::Pem);
    }
    let indented = format!("    {}\r\n", sec1.lines().collect::<Vec<_>>().join("\r\n    "));
    let (parameters, key) = sec1.split_at(sec1.find("-----BEGIN EC PRIVATE").unwrap());
    let public_block = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let utf16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(sec1.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for file in [
        indented.as_bytes(),
        format!("\u{feff}{sec1}").as_bytes(),
        format!("{key}\n{parameters}{public_block}").as_bytes(),
        format!("{public_block}Private-Key: (256 bit)\npriv:\n    00:11\n{pkcs8}").as_bytes(),
        format!("{pkcs8}\n{sec1}").as_bytes(),
        &utf16,
    ] {
        assert_eq!(KeyPair::from_file(file).unwrap().public().to_text(), public);
    }
    assert_eq!(KeyPair::from_text(public_block).unwrap_err(), InvalidKeyPair::PublicOnly);
    let several = format!("{sec1}\n{}", pair(3).to_pem());
    assert_eq!(KeyPair::from_text(&several).unwrap_err(), InvalidKeyPair::Several);
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----",
    ] {
        assert_eq!(KeyPair::from_text(encrypted).unwrap_err(), InvalidKeyPair::Encrypted);
    }
    let rsa = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----";
    assert_eq!(KeyPair::from_text(rsa).unwrap_err(), InvalidKeyPair::OtherKind);
}

/// A pair whose private key has as many zeros in front.
fn pair_with_zeros(zeros: usize) -> KeyPair {
    let mut octets = [0x87; 32];
    octets[..zeros].fill(0);
    KeyPair::from_text(&text::encode(&octets)).unwrap()
}

#[test]
fn zeros_in_front_may_be_lost() {
    for zeros in 0..=2 {
        let whole = pair_with_zeros(zeros);
        let octets = text::decode_strictly(&whole.to_text()).unwrap();
        let short = text::encode(&octets[zeros..]);
        assert_eq!(KeyPair::from_text(&short).unwrap().public(), whole.public());
        assert_eq!(KeyPair::from_file(&octets[zeros..]).unwrap().public(), whole.public());
        // SEC 1 with the number as it is, and no public key beside it.
        let length = u8::try_from(32 - zeros).unwrap();
        let named_curve = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let content = [&[2, 1, 1, 4, length][..], &octets[zeros..], &named_curve].concat();
        let der = [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat();
        assert_eq!(KeyPair::from_file(&der).unwrap().public(), whole.public(), "{zeros}");
        assert_eq!(KeyPair::from_text(&text::encode(&der)).unwrap().public(), whole.public(), "{zeros}");
    }
}

#[test]
fn a_key_is_found_by_its_name() {
    let pair = pair(8);
    let (private, public) = (pair.to_text(), pair.public().to_text());
    for file in [
        format!("{{\"publicKey\":\"{public}\",\"privateKey\":\"{private}\"}}"),
        format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"{private}\"}}"),
        format!("\n=====\n\nPublic Key:\n{public}\n\nPrivate Key:\n{private}\n\n=====\n"),
        format!("VAPID_PRIVATE_KEY={private}\nVAPID_PUBLIC_KEY={public}\n"),
        format!("VAPID_PUBLIC_KEY=\"{public}\"\r\nVAPID_PRIVATE_KEY=\"{private}=\"\r\n"),
        format!("{}\n{}\n", &private[..20], &private[20..]),
    ] {
        assert_eq!(KeyPair::from_text(&file).unwrap().public(), pair.public(), "{file}");
    }
    for public_only in [public.clone(), format!("private: {public}")] {
        assert_eq!(KeyPair::from_text(&public_only).unwrap_err(), InvalidKeyPair::PublicOnly);
    }
    for nothing in ["{}", "{\"privateKey\":7}", "private key:", "public=1"] {
        assert_eq!(KeyPair::from_text(nothing).unwrap_err(), InvalidKeyPair::NotAKey, "{nothing}");
    }
}

#[test]
fn a_public_key_that_a_person_has_is_read() {
    let public = "BBxL9nDBpfDW52-uBfzZCFLvbv2JX_XL2gtekAHjpaLbt5yZVjLfwRYWQ1jswrcHFrDt04NFxDICGD00Objn82s";
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHEv2cMGl8Nbnb64F/NkIUu9u/Ylf\n\
        9cvaC16QAeOlotu3nJlWMt/BFhZDWOzCtwcWsO3Tg0XEMgIYPTQ5uOfzaw==\n\
        -----END PUBLIC KEY-----\n";
    let der =
        text::decode_leniently(&pem.lines().filter(|line| !line.contains('-')).collect::<String>()).unwrap();
    for file in [public.as_bytes(), format!("{public}\n").as_bytes(), pem.as_bytes(), &der] {
        assert_eq!(PublicKey::from_file(file).unwrap().to_text(), public);
    }
    assert!(PublicKey::from_file(pair(3).to_text().as_bytes()).is_err());
    assert!(PublicKey::from_file(pair(3).to_pem().as_bytes()).is_err());
}

#[test]
fn what_is_no_private_key_is_refused_with_the_reason() {
    for bad in ["", "x", &pair(3).to_text()[4..], "a sentence about keys"] {
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

// Holds: C-10, C-11, C-12, C-45.
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
