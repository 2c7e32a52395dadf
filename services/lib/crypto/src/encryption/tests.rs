//! Tested: both encodings against the examples of RFC 8188, RFC 8291 and the draft, and against altered messages.

use proptest::prelude::*;
use pushgrid_types::limits::BODY_ALWAYS_ACCEPTED;

use super::aes128gcm::{content_keys, key_info, seal, text_of};
use super::derive::keying_material;
use super::*;
use crate::testing::{SeededRng, vector, vector_octets};
use crate::{curve, text};

/// Of `aes128gcm`: where the record size and the key id begin, and where the header ends.
const RECORD_SIZE_AT: usize = 16;
const KEY_ID_AT: usize = 21;
const HEADER: usize = 86;

fn octets<const N: usize>(path: &[&str]) -> [u8; N] {
    vector_octets(path).try_into().unwrap()
}

fn receiver(set: &str) -> Receiver {
    Receiver::from_parts(&octets(&[set, "ua_private"]), &octets(&[set, "auth_secret"])).unwrap()
}

fn fresh() -> Receiver {
    Receiver::generate(&SeededRng::new(1))
}

/// A message to [`fresh`] whose one record is exactly this, delimiter and padding included.
fn sealed(record: &[u8]) -> Vec<u8> {
    let to = fresh();
    let sender = curve::random_secret(&SeededRng::new(2));
    seal(&sender, [3; 16], (&curve::point(to.public()).unwrap(), to.public()), to.auth_secret(), record)
}

// Holds: B-07.
#[test]
fn rfc_8291_example_is_decrypted_and_made_again() {
    let set = "rfc8291";
    let to = receiver(set);
    assert_eq!(to.p256dh(), vector(&[set, "ua_public"]));
    assert_eq!(to.auth(), vector(&[set, "auth_secret"]));
    let body = vector_octets(&[set, "body"]);
    assert_eq!(to.decrypt_aes128gcm(&body), Ok(vector_octets(&[set, "plaintext_b64"])));
    let as_public = vector_octets(&[set, "as_public"]);
    assert_eq!(sender_key_aes128gcm(&body), Some(&as_public[..]));

    let sender = curve::secret(&octets(&[set, "as_private"])).unwrap();
    let record = [vector(&[set, "plaintext"]).as_bytes(), &[2]].concat();
    let point = curve::point(to.public()).unwrap();
    let made = seal(&sender, octets(&[set, "salt"]), (&point, to.public()), to.auth_secret(), &record);
    assert_eq!(made, body);
}

// Holds: B-27, B-28.
#[test]
fn rfc_8291_example_has_the_printed_steps() {
    let set = "rfc8291";
    let to = receiver(set);
    let as_public = vector_octets(&[set, "as_public"]);
    let info = key_info(to.public(), &as_public);
    assert_eq!(info, vector_octets(&[set, "key_info"]));
    let point = curve::point(&as_public).unwrap();
    assert_eq!(
        to.secret().diffie_hellman(&point).raw_secret_bytes()[..],
        vector_octets(&[set, "ecdh_secret"])[..]
    );
    let ikm = keying_material(to.secret(), &point, to.auth_secret(), &info);
    assert_eq!(ikm, octets(&[set, "ikm"]));
    let keys = content_keys(&ikm, &octets(&[set, "salt"]));
    assert_eq!(keys.key, octets(&[set, "cek"]));
    assert_eq!(keys.nonce, octets(&[set, "nonce"]));
}

// Holds: B-28.
#[test]
fn rfc_8188_single_record_example_has_our_content_keys() {
    let set = "rfc8188_3_1";
    let keys = content_keys(&vector_octets(&[set, "ikm"]), &octets(&[set, "salt"]));
    assert_eq!(keys.key, octets(&[set, "cek"]));
    assert_eq!(keys.nonce, octets(&[set, "nonce"]));
    let body = vector_octets(&[set, "body"]);
    // The header of the example has no key id: 21 octets.
    assert_eq!(keys.open(&body[21..]).and_then(text_of), Ok(vector(&[set, "plaintext"]).into_bytes()));
    assert_eq!(fresh().decrypt_aes128gcm(&body), Err(DecryptError::KeyId));
}

// Holds: B-29, B-31.
#[test]
fn rfc_8188_example_of_two_records_is_refused() {
    let set = "rfc8188_3_2";
    let body = vector_octets(&[set, "body"]);
    assert_eq!(fresh().decrypt_aes128gcm(&body), Err(DecryptError::KeyId));
    // The first record is the one to be read here, and announces another one.
    let keys = content_keys(&vector_octets(&[set, "ikm"]), &octets(&[set, "salt"]));
    assert_eq!(keys.nonce, octets(&[set, "nonce"]));
    let record = keys.open(&body[23..48]).unwrap();
    assert_eq!(text::encode(&record), "SSBhbSB0aAEA");
    assert_eq!(text_of(record), Err(DecryptError::SeveralRecords));
}

// Holds: B-17, B-33.
#[test]
fn aesgcm_draft_example_is_decrypted_however_its_fields_are_written() {
    let set = "aesgcm_draft04";
    let to = receiver(set);
    let body = vector_octets(&[set, "body"]);
    let (salt, dh) = (vector(&[set, "salt"]), vector(&[set, "as_public"]));
    let text = Ok(vector(&[set, "plaintext"]).into_bytes());
    let encryption = vector(&[set, "headers", "Encryption"]);
    for crypto_key in [
        vector(&[set, "headers", "Crypto-Key"]),
        format!("dh={dh};p256ecdsa=BA1Hxzyi1RUM"),
        format!("dh={dh}; p256ecdsa=BA1Hxzyi1RUM"),
        format!("dh={dh},p256ecdsa=BA1Hxzyi1RUM"),
        format!("p256ecdsa=BA1Hxzyi1RUM,dh=\"{dh}=\""),
        format!("DH={dh}"),
    ] {
        assert_eq!(to.decrypt_aesgcm(&body, &encryption, &crypto_key), text, "{crypto_key}");
        assert_eq!(sender_key_aesgcm(&crypto_key).unwrap().to_vec(), vector_octets(&[set, "as_public"]));
    }
    let crypto_key = format!("keyid=a;dh={}, keyid=\"b\"; dh={dh}", fresh().p256dh());
    for encryption in [format!("keyid=b;salt={salt}"), format!("salt=\"{salt}==\"; rs=4096; keyid=\"b\"")] {
        assert_eq!(to.decrypt_aesgcm(&body, &encryption, &crypto_key), text, "{encryption}");
    }
    let single = format!("keyid=p256dh;dh={dh}");
    for encryption in
        [format!("salt={salt};rs=19"), format!("Salt={salt}, rs=4096"), format!("keyid=x;salt={salt}")]
    {
        assert_eq!(to.decrypt_aesgcm(&body, &encryption, &single), text, "{encryption}");
    }
}

#[test]
fn aesgcm_fields_that_are_wrong_are_refused() {
    let set = "aesgcm_draft04";
    let to = receiver(set);
    let body = vector_octets(&[set, "body"]);
    let good = (vector(&[set, "headers", "Encryption"]), vector(&[set, "headers", "Crypto-Key"]));
    let with =
        |encryption: &str, crypto_key: &str| to.decrypt_aesgcm(&body, encryption, crypto_key).unwrap_err();
    for bad in ["", "salt=", "salt=AAAA", "rs=4096", &format!("{0},{0}", good.0)] {
        assert_eq!(with(bad, &good.1), DecryptError::Salt, "{bad:?}");
    }
    for bad in ["0", "2", "-1", "x", "99999999999999999999"] {
        assert_eq!(with(&format!("{};rs={bad}", good.0), &good.1), DecryptError::RecordSize, "{bad:?}");
    }
    // 33 octets of body: 17 of padded text, so a size of 17 announces another record.
    assert_eq!(with(&format!("{};rs=17", good.0), &good.1), DecryptError::SeveralRecords);
    for bad in ["", "dh=", "dh=BAAA", "p256ecdsa=BA1H", &format!("{0},{0}", good.1)] {
        assert_eq!(with(&good.0, bad), DecryptError::SenderKey, "{bad:?}");
    }
    let off_curve = format!("dh={}", text::encode(&[4; 65]));
    assert_eq!(with(&good.0, &off_curve), DecryptError::InvalidPoint);
    assert_eq!(fresh().decrypt_aesgcm(&body, &good.0, &good.1), Err(DecryptError::Tag));
    assert_eq!(to.decrypt_aesgcm(&body[..17], &good.0, &good.1), Err(DecryptError::TooShort));
}

// Holds: B-19, B-33.
#[test]
fn aesgcm_padding_is_counted_in_front_and_must_be_zeros() {
    let to = fresh();
    let sender = curve::random_secret(&SeededRng::new(4));
    let sender_point = curve::public_octets(&sender);
    let point = curve::point(to.public()).unwrap();
    let ikm = keying_material(&sender, &point, to.auth_secret(), b"Content-Encoding: auth\0");
    let keys = super::aesgcm::content_keys(&ikm, &[5; 16], to.public(), &sender_point);
    let encryption = format!("salt={}", text::encode(&[5; 16]));
    let crypto_key = format!("dh={}", text::encode(&sender_point));
    let read = |record: &[u8]| to.decrypt_aesgcm(&keys.seal(record), &encryption, &crypto_key);
    assert_eq!(read(b"\0\x03\0\0\0text"), Ok(b"text".to_vec()));
    assert_eq!(read(b"\0\0"), Ok(vec![]));
    assert_eq!(read(b"\0\x03\0\x01\0text"), Err(DecryptError::Padding));
    assert_eq!(read(b"\0\x05text"), Err(DecryptError::Padding));
    assert_eq!(read(&[0; 4095]), Ok(vec![0; 4093]));
    assert_eq!(read(&[0; 4096]), Err(DecryptError::SeveralRecords));
}

// Holds: B-12.
#[test]
fn the_longest_message_makes_a_body_that_every_service_takes() {
    let to = fresh();
    let rng = SeededRng::new(5);
    let longest = vec![b'x'; PLAINTEXT_MAX];
    let body = encrypt_aes128gcm(&rng, &to.p256dh(), &to.auth(), &longest).unwrap();
    assert_eq!((PLAINTEXT_MAX, body.len()), (3993, BODY_ALWAYS_ACCEPTED));
    assert_eq!(to.decrypt_aes128gcm(&body), Ok(longest));
    let octets = PLAINTEXT_MAX + 1;
    let refused = encrypt_aes128gcm(&rng, &to.p256dh(), &to.auth(), &vec![0; octets]);
    assert_eq!(refused, Err(EncryptError::TooLong { octets }));
}

// Holds: B-26.
#[test]
fn every_message_has_its_own_key_and_salt() {
    let to = fresh();
    let rng = SeededRng::new(6);
    let [one, two] = [0; 2].map(|_: u8| encrypt_aes128gcm(&rng, &to.p256dh(), &to.auth(), b"same").unwrap());
    assert_ne!(one[..16], two[..16]);
    assert_ne!(sender_key_aes128gcm(&one), sender_key_aes128gcm(&two));
    assert_ne!(sender_key_aes128gcm(&one), Some(&to.public()[..]));
}

#[test]
fn keys_of_a_user_agent_that_are_none_are_refused() {
    let to = fresh();
    let rng = SeededRng::new(7);
    let encrypt = |p256dh: &str, auth: &str| encrypt_aes128gcm(&rng, p256dh, auth, b"x").map(|_| ());
    let off_curve = text::encode(&[4; 65]);
    for bad in ["", "BA1H", &to.p256dh()[1..], &off_curve] {
        assert_eq!(encrypt(bad, &to.auth()), Err(EncryptError::InvalidP256dh), "{bad:?}");
    }
    for bad in ["", "AAAA", &to.auth()[1..]] {
        assert_eq!(encrypt(&to.p256dh(), bad), Err(EncryptError::InvalidAuth), "{bad:?}");
    }
    assert_eq!(encrypt(&format!("{}=", to.p256dh()), &format!("{}==", to.auth())), Ok(()));
    assert_eq!(Receiver::from_parts(&[0; 32], &[0; 16]).unwrap_err(), InvalidReceiver);
    assert_eq!(Receiver::from_parts(&[0xff; 32], &[0; 16]).unwrap_err(), InvalidReceiver);
}

// Holds: B-11, B-29.
#[test]
fn padding_behind_the_delimiter_is_taken_off_and_anything_else_refused() {
    let read = |record: &[u8]| fresh().decrypt_aes128gcm(&sealed(record));
    assert_eq!(read(b"text\x02"), Ok(b"text".to_vec()));
    assert_eq!(read(b"text\0\x02\0\0\0"), Ok(b"text\0".to_vec()));
    assert_eq!(read(b"\x02"), Ok(vec![]));
    assert_eq!(read(b"text\x01"), Err(DecryptError::SeveralRecords));
    assert_eq!(read(b"text\x02\x03"), Err(DecryptError::Padding));
    assert_eq!(read(b"text"), Err(DecryptError::Padding));
    assert_eq!(read(b"\0\0\0"), Err(DecryptError::Padding));
    assert_eq!(read(b""), Err(DecryptError::TooShort));
}

// Holds: B-09, B-10, B-31.
#[test]
fn the_record_size_may_be_the_length_of_the_record_or_more_but_not_less() {
    let mut body = sealed(b"text of some length\x02");
    let length = u32::try_from(body.len() - HEADER).unwrap();
    for (size, expected) in [
        (length, Ok(b"text of some length".to_vec())),
        (u32::MAX, Ok(b"text of some length".to_vec())),
        (length - 1, Err(DecryptError::SeveralRecords)),
        (18, Err(DecryptError::SeveralRecords)),
        (17, Err(DecryptError::RecordSize)),
        (0, Err(DecryptError::RecordSize)),
    ] {
        body[RECORD_SIZE_AT..RECORD_SIZE_AT + 4].copy_from_slice(&size.to_be_bytes());
        assert_eq!(fresh().decrypt_aes128gcm(&body), expected, "{size}");
    }
}

// Holds: B-07, B-30, B-31.
#[test]
fn a_sender_key_that_is_no_uncompressed_point_of_the_curve_is_refused() {
    let body = sealed(b"text\x02");
    let with = |at: usize, octet: u8| {
        let mut changed = body.clone();
        changed[at] = octet;
        fresh().decrypt_aes128gcm(&changed).unwrap_err()
    };
    assert_eq!(with(KEY_ID_AT - 1, 64), DecryptError::KeyId);
    assert_eq!(with(KEY_ID_AT - 1, 255), DecryptError::KeyId);
    assert_eq!(with(KEY_ID_AT, 3), DecryptError::KeyId);
    assert_eq!(with(KEY_ID_AT + 64, body[KEY_ID_AT + 64] ^ 1), DecryptError::InvalidPoint);
    assert_eq!(sender_key_aes128gcm(&body[..HEADER - 1]), None);
    assert_eq!(sender_key_aes128gcm(&body[..HEADER]), Some(&body[KEY_ID_AT..HEADER]));
}

#[test]
fn another_receiver_reads_nothing() {
    let body = sealed(b"text\x02");
    let (private, auth) = fresh().to_parts();
    assert_eq!(Receiver::from_parts(&private, &auth).unwrap().decrypt_aes128gcm(&body), Ok(b"text".to_vec()));
    let other_auth = Receiver::from_parts(&private, &[0; 16]).unwrap();
    assert_eq!(other_auth.decrypt_aes128gcm(&body), Err(DecryptError::Tag));
    let other_key = Receiver::generate(&SeededRng::new(8));
    assert_eq!(other_key.decrypt_aes128gcm(&body), Err(DecryptError::Tag));
    assert_eq!(format!("{other_key:?}"), "Receiver(..)");
}

proptest! {
    // Each case multiplies points, which an unoptimised build does slowly.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_encrypted_is_decrypted(plaintext in prop::collection::vec(any::<u8>(), 0..300), seed: u64) {
        let rng = SeededRng::new(seed);
        let to = Receiver::generate(&rng);
        let body = encrypt_aes128gcm(&rng, &to.p256dh(), &to.auth(), &plaintext).unwrap();
        prop_assert_eq!(body.len(), plaintext.len() + 103);
        prop_assert_eq!(to.decrypt_aes128gcm(&body), Ok(plaintext));
    }

    // Holds: B-29, B-31.
    #[test]
    fn a_message_changed_or_cut_anywhere_is_refused(at in 0..112_usize, bit in 0..8_u32) {
        let body = sealed(b"some text\x02");
        prop_assert_eq!(body.len(), 112);
        prop_assert!(fresh().decrypt_aes128gcm(&body[..at]).is_err());
        let mut changed = body;
        changed[at] ^= 1 << bit;
        // The record size is not authenticated (RFC 8188 section 2.1): only its bounds are checked.
        let in_record_size = (RECORD_SIZE_AT..RECORD_SIZE_AT + 4).contains(&at);
        prop_assert!(in_record_size || fresh().decrypt_aes128gcm(&changed).is_err());
    }

    #[test]
    fn any_octets_and_fields_are_refused_without_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        encryption: String,
        crypto_key: String,
    ) {
        prop_assert!(fresh().decrypt_aes128gcm(&body).is_err());
        prop_assert!(fresh().decrypt_aesgcm(&body, &encryption, &crypto_key).is_err());
        let fields = (format!("salt={}", text::encode(&[5; 16])), format!("dh={}", fresh().p256dh()));
        prop_assert!(fresh().decrypt_aesgcm(&body, &fields.0, &fields.1).is_err());
    }
}
