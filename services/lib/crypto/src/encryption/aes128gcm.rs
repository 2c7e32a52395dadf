//! `aes128gcm`: RFC 8291 over RFC 8188, both ways.
//!
//! Invariant: one message is one record. Encryption adds no padding; decryption takes padding off, and gives no
//! plaintext unless tag, delimiter and zeros are right.

use p256::{PublicKey, SecretKey};
use pushgrid_types::Rng;
use pushgrid_types::cast::fitting;
use pushgrid_types::limits::P256_POINT;

use super::derive::{ContentKeys, keying_material};
use super::size::{HEADER, PLAINTEXT_MAX, SALT, TAG};
use super::{DecryptError, EncryptError, Receiver};
use crate::{curve, text};

/// Record size that a sender of ours declares. A record is never longer than the body that every service takes.
const RECORD_SIZE: u32 = 4096;

/// A record holds at least its delimiter and its tag (RFC 8188 section 2.1), and one octet more to hold any
/// text.
const RECORD_SIZE_MIN: u32 = 18;

/// Delimiter of the last record; only zeros follow.
pub(super) const LAST_DELIMITER: u8 = 0x02;

/// Encrypts one message to the user agent with the keys `p256dh` and `auth` (base64url, padded or not), under a fresh
/// key pair and salt. The body is a single record without padding, 103 octets longer than the plaintext, for
/// `Content-Encoding: aes128gcm` (RFC 8291 section 4).
///
/// Fails when the plaintext is longer than [`PLAINTEXT_MAX`] or a key is not valid.
pub fn encrypt_aes128gcm(
    rng: &dyn Rng,
    p256dh: &str,
    auth: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, EncryptError> {
    if plaintext.len() > PLAINTEXT_MAX {
        return Err(EncryptError::TooLong { octets: plaintext.len() });
    }
    let octets = text::decode_array::<P256_POINT>(p256dh).ok_or(EncryptError::InvalidP256dh)?;
    let to = curve::point(&octets).ok_or(EncryptError::InvalidP256dh)?;
    let auth = text::decode_array(auth).ok_or(EncryptError::InvalidAuth)?;
    let mut salt = [0; SALT];
    rng.fill(&mut salt);
    let record = [plaintext, &[LAST_DELIMITER]].concat();
    Ok(seal(&curve::random_secret(rng), salt, (&to, &octets), &auth, &record))
}

/// Header block and one sealed record. `to` is the receiver's point and its octets.
pub(super) fn seal(
    sender: &SecretKey,
    salt: [u8; SALT],
    to: (&PublicKey, &[u8; P256_POINT]),
    auth: &[u8; 16],
    record: &[u8],
) -> Vec<u8> {
    let sender_point = curve::public_octets(sender);
    let ikm = keying_material(sender, to.0, auth, &key_info(to.1, &sender_point));
    let key_id_length = fitting::<u8>(P256_POINT);
    [
        &salt[..],
        &RECORD_SIZE.to_be_bytes(),
        &[key_id_length],
        &sender_point,
        &content_keys(&ikm, &salt).seal(record),
    ]
    .concat()
}

/// The sender's public key: the 65-octet key id in the header block of an `aes128gcm` body, when there is
/// one.
pub fn sender_key_aes128gcm(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.get(SALT + 4..)?.split_first()?;
    let key_id = rest.get(..usize::from(*length))?;
    curve::is_uncompressed(key_id).then_some(key_id)
}

impl Receiver {
    /// Decrypts the body of a message with `Content-Encoding: aes128gcm` (RFC 8291 section 4). The error tells why
    /// nothing is given out, and holds no plaintext.
    ///
    /// The record size may be just the length of the record, or anything above: deployed senders write both.
    pub fn decrypt_aes128gcm(&self, body: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let (salt, rest) = body.split_first_chunk::<SALT>().ok_or(DecryptError::TooShort)?;
        let (record_size, _) = rest.split_first_chunk::<4>().ok_or(DecryptError::TooShort)?;
        let record_size = u32::from_be_bytes(*record_size);
        if record_size < RECORD_SIZE_MIN {
            return Err(DecryptError::RecordSize);
        }
        let sender_octets = sender_key_aes128gcm(body).ok_or(DecryptError::KeyId)?;
        let sealed = &body[HEADER..];
        if sealed.len() <= TAG {
            return Err(DecryptError::TooShort);
        }
        if u32::try_from(sealed.len()).is_ok_and(|length| length <= record_size) {
            let sender = curve::point(sender_octets).ok_or(DecryptError::InvalidPoint)?;
            let info = key_info(self.public(), sender_octets);
            let ikm = keying_material(self.secret(), &sender, self.auth_secret(), &info);
            text_of(content_keys(&ikm, salt).open(sealed)?)
        } else {
            Err(DecryptError::SeveralRecords)
        }
    }
}

/// `key_info` of RFC 8291 section 3.4: the user agent's key before the sender's.
pub(super) fn key_info(receiver: &[u8], sender: &[u8]) -> Vec<u8> {
    [b"WebPush: info\0", receiver, sender].concat()
}

/// RFC 8188 sections 2.2 and 2.3.
pub(super) fn content_keys(ikm: &[u8], salt: &[u8; SALT]) -> ContentKeys {
    ContentKeys::derive(ikm, salt, b"Content-Encoding: aes128gcm\0", b"Content-Encoding: nonce\0")
}

/// The text of the last record: the octets before the delimiter, of which only zeros may follow.
pub(super) fn text_of(mut record: Vec<u8>) -> Result<Vec<u8>, DecryptError> {
    let end = record.iter().rposition(|&octet| octet != 0).ok_or(DecryptError::Padding)?;
    match record[end] {
        LAST_DELIMITER => {
            record.truncate(end);
            Ok(record)
        }
        // The delimiter of a record that others follow: the message was cut off, or has several.
        0x01 => Err(DecryptError::SeveralRecords),
        _ => Err(DecryptError::Padding),
    }
}
