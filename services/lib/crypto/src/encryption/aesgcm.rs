//! `aesgcm`: draft-ietf-webpush-encryption-04, for reading alone, because deployed libraries still send it.
//!
//! Invariant: a message is opened only when its fields name exactly one salt and one sender key, and the body is one
//! whole record.

use pushgrid_types::cast::fitting;
use pushgrid_types::limits::P256_POINT;

use super::derive::{ContentKeys, keying_material};
use super::{DecryptError, Receiver};
use crate::{curve, fields, text};

const SALT: usize = 16;
const TAG: usize = 16;

/// Size of the padding length in front of the padding (big endian), in octets.
const PADDING_LENGTH: usize = 2;

/// The `rs` of a sender that writes none, in octets of padded text.
const RECORD_SIZE_DEFAULT: usize = 4096;

/// The sender's public key: the value of `dh` in a `Crypto-Key` field, when there is exactly one.
pub fn sender_key_aesgcm(crypto_key: &str) -> Option<[u8; P256_POINT]> {
    let keys = fields::entries(crypto_key).flatten().filter(|(name, _)| name.eq_ignore_ascii_case("dh"));
    let octets = text::decode_array(only(keys)?.1)?;
    curve::is_uncompressed(&octets).then_some(octets)
}

/// Tells whether the `salt` of an `Encryption` field is 16 octets of base64url.
pub fn is_salt_aesgcm(salt: &str) -> bool {
    text::decode_array::<SALT>(salt).is_some()
}

/// Tells whether the `dh` of a `Crypto-Key` field is a public key.
pub fn is_sender_key_aesgcm(dh: &str) -> bool {
    text::decode_array::<P256_POINT>(dh).is_some_and(|octets| curve::point(&octets).is_some())
}

impl Receiver {
    /// Decrypts the body of a message with `Content-Encoding: aesgcm` (draft-ietf-webpush-encryption-04), given the
    /// `Encryption` and `Crypto-Key` fields in the forms of deployed senders: values in quotes or with padding, keys
    /// of other purposes beside `dh`, parameters split by `;` or by `,`.
    pub fn decrypt_aesgcm(
        &self,
        body: &[u8],
        encryption: &str,
        crypto_key: &str,
    ) -> Result<Vec<u8>, DecryptError> {
        let encryption = Encryption::read(encryption)?;
        let sender_octets = sender_key_for(encryption.key_id, crypto_key).ok_or(DecryptError::SenderKey)?;
        if body.len() < PADDING_LENGTH + TAG {
            return Err(DecryptError::TooShort);
        }
        // A record as long as it may be announces another one, also when that never comes.
        if body.len() - TAG >= encryption.record_size {
            return Err(DecryptError::SeveralRecords);
        }
        let sender = curve::point(&sender_octets).ok_or(DecryptError::InvalidPoint)?;
        let ikm = keying_material(self.secret(), &sender, self.auth_secret(), b"Content-Encoding: auth\0");
        text_of(&content_keys(&ikm, &encryption.salt, self.public(), &sender_octets).open(body)?)
    }
}

/// The `Encryption` field of a message that was encrypted once.
struct Encryption<'a> {
    salt: [u8; SALT],
    record_size: usize,
    /// Names the `Crypto-Key` entry with the sender's key.
    key_id: Option<&'a str>,
}

impl<'a> Encryption<'a> {
    fn read(field: &'a str) -> Result<Self, DecryptError> {
        // Senders that split parameters by `,` make several entries of one: all are read as one, and each
        // name once.
        let value = |wanted: &str| -> Result<Option<&'a str>, DecryptError> {
            let mut found =
                fields::entries(field).flatten().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let first = found.next().map(|(_, value)| value);
            if found.next().is_some() { Err(DecryptError::Salt) } else { Ok(first) }
        };
        let salt = value("salt")?.and_then(text::decode_array).ok_or(DecryptError::Salt)?;
        let record_size = match value("rs")? {
            Some(digits) => digits.parse().map_err(|_| DecryptError::RecordSize)?,
            None => RECORD_SIZE_DEFAULT,
        };
        if record_size <= PADDING_LENGTH {
            return Err(DecryptError::RecordSize);
        }
        Ok(Self { salt, record_size, key_id: value("keyid")? })
    }
}

/// The sender's key for the salt: `dh` of the entry with the same `keyid`, or the only `dh` there is.
fn sender_key_for(key_id: Option<&str>, crypto_key: &str) -> Option<[u8; P256_POINT]> {
    let paired = key_id.and_then(|wanted| {
        only(fields::entries(crypto_key).filter_map(|entry| {
            let parameters: Vec<_> = entry.collect();
            let value = |wanted: &str| {
                parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
            };
            (value("keyid") == Some(wanted)).then(|| value("dh")).flatten()
        }))
    });
    match paired {
        Some(key) => {
            text::decode_array(key).filter(|octets: &[u8; P256_POINT]| curve::is_uncompressed(octets))
        }
        None => sender_key_aesgcm(crypto_key),
    }
}

/// The one item, when there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// Both keys go into the labels, each after its length.
pub(super) fn content_keys(
    ikm: &[u8],
    salt: &[u8; 16],
    receiver: &[u8; P256_POINT],
    sender: &[u8; P256_POINT],
) -> ContentKeys {
    let length = fitting::<u16>(P256_POINT).to_be_bytes();
    let context = [b"P-256\0", &length[..], receiver, &length, sender].concat();
    let info = |label: &[u8]| [label, &context].concat();
    ContentKeys::derive(ikm, salt, &info(b"Content-Encoding: aesgcm\0"), &info(b"Content-Encoding: nonce\0"))
}

/// The text behind the padding, which must be zeros.
fn text_of(record: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (length, rest) = record.split_first_chunk().ok_or(DecryptError::Padding)?;
    let (padding, text) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(DecryptError::Padding)?;
    if padding.iter().all(|&octet| octet == 0) { Ok(text.to_vec()) } else { Err(DecryptError::Padding) }
}
