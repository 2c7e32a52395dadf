//! Private and public keys in the forms of common tools: PEM among other things, DER, base64url, and files with named
//! keys.
//!
//! Invariant: an error names the reason and holds nothing of the key.

use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use p256::{PublicKey as Point, SecretKey};

use crate::{curve, text};

/// A text that should have been a VAPID private key. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyPair {
    /// Neither 32 octets of base64url, nor PEM, nor DER.
    #[error("a VAPID private key is base64url of 32 octets (43 characters), PEM or DER")]
    NotAKey,
    /// PEM of something else, or a part of it.
    #[error("the PEM holds no whole private key (EC PRIVATE KEY or PRIVATE KEY)")]
    Pem,
    /// Protected by a pass phrase.
    #[error(
        "the private key is encrypted, and nobody is there to type its pass phrase: write it without one, as with \
         `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Encrypted,
    /// Of another algorithm or curve.
    #[error(
        "the private key is not one of the curve P-256 (prime256v1) by its name: VAPID needs that, as from \
         `openssl ecparam -name prime256v1 -genkey`"
    )]
    OtherKind,
    /// The half that is not secret.
    #[error("this is a public key: the private key signs")]
    PublicOnly,
    /// More than one.
    #[error("there are several private keys, and nothing says which: leave one")]
    Several,
    /// Zero, or not below the order of the curve.
    #[error("the number is not a private key of P-256")]
    NotAScalar,
}

/// Fewest octets of a private key: tools that write the key as a number drop leading zeros.
const SHORTEST: usize = curve::SCALAR_SIZE - 2;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Members and names of private keys in JSON and in lines such as `VAPID_PRIVATE_KEY=...`.
const PRIVATE: [&str; 4] = ["privatekey", "private_key", "private", "d"];

/// The one private key of a file.
pub(super) fn private_key(content: &[u8]) -> Result<SecretKey, InvalidKeyPair> {
    let Some(text) = to_text(content) else { return of_octets(content) };
    let text = text.trim();
    if text.contains(BEGIN.trim_end()) {
        return of_pem(text);
    }
    if text.starts_with('{') {
        let named = named_in_json(text).ok_or(InvalidKeyPair::NotAKey)?;
        return of_base64(&named);
    }
    match labelled(text) {
        Some(value) => of_base64(value),
        None => of_base64(text),
    }
}

/// The octets of the one uncompressed point of a file or an argument: base64url, PEM or DER.
pub(super) fn public_octets(content: &[u8]) -> Option<Vec<u8>> {
    let of_der = |der: &[u8]| {
        let point = Point::from_public_key_der(der).ok()?;
        Some(point.to_sec1_bytes().to_vec())
    };
    let Some(text) = to_text(content) else { return of_der(content) };
    if let Some(block) = blocks(&text).find(|block| block.label == "PUBLIC KEY") {
        return of_der(&block.decode()?);
    }
    let octets = decode(&text)?;
    of_der(&octets).or(Some(octets))
}

/// Decodes UTF-8 or, after a byte order mark, UTF-16, as shells of Windows write.
fn to_text(content: &[u8]) -> Option<String> {
    let units = |pair: fn([u8; 2]) -> u16| {
        let (pairs, _) = content[2..].as_chunks::<2>();
        String::from_utf16(&pairs.iter().map(|it| pair(*it)).collect::<Vec<_>>()).ok()
    };
    match content {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(content.to_vec()).ok().filter(|text| !text.contains('\0')),
    }
}

/// A block of PEM: the label, and the text between the BEGIN and END lines.
struct Block<'t> {
    label: &'t str,
    inner: &'t str,
}

impl Block<'_> {
    fn decode(&self) -> Option<Vec<u8>> {
        decode(self.inner)
    }

    /// True of a block marked as encrypted, by PKCS #8 or the older form.
    fn is_encrypted(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY" || self.inner.contains("ENCRYPTED")
    }
}

/// The complete blocks of a text, with anything around the blocks and before the lines.
fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    text.split(BEGIN).skip(1).filter_map(|begun| {
        let (label, rest) = begun.split_once(DASHES)?;
        let (inner, end) = rest.split_once(END)?;
        end.strip_prefix(label)?.starts_with(DASHES).then_some(Block { label, inner })
    })
}

fn of_pem(text: &str) -> Result<SecretKey, InvalidKeyPair> {
    let mut found: Option<SecretKey> = None;
    let mut seen = InvalidKeyPair::Pem;
    for block in blocks(text) {
        if block.is_encrypted() {
            return Err(InvalidKeyPair::Encrypted);
        }
        let key = match block.label {
            "PRIVATE KEY" | "EC PRIVATE KEY" => of_der(&block.decode().ok_or(InvalidKeyPair::Pem)?)?,
            label if label.ends_with("PRIVATE KEY") => return Err(InvalidKeyPair::OtherKind),
            label if label.ends_with("PUBLIC KEY") => {
                seen = InvalidKeyPair::PublicOnly;
                continue;
            }
            // Parameters, certificates.
            _ => continue,
        };
        if found.as_ref().is_some_and(|found| *found != key) {
            return Err(InvalidKeyPair::Several);
        }
        found = Some(key);
    }
    found.ok_or(seen)
}

/// Parses PKCS #8 or SEC 1.
fn of_der(der: &[u8]) -> Result<SecretKey, InvalidKeyPair> {
    SecretKey::from_pkcs8_der(der)
        .ok()
        .or_else(|| SecretKey::from_sec1_der(der).ok())
        .ok_or(InvalidKeyPair::OtherKind)
}

fn of_base64(text: &str) -> Result<SecretKey, InvalidKeyPair> {
    of_octets(&decode(text).ok_or(InvalidKeyPair::NotAKey)?)
}

fn of_octets(octets: &[u8]) -> Result<SecretKey, InvalidKeyPair> {
    match octets {
        _ if (SHORTEST..=curve::SCALAR_SIZE).contains(&octets.len()) => {
            SecretKey::from_slice(octets).map_err(|_| InvalidKeyPair::NotAScalar)
        }
        // A sequence.
        [0x30, ..] => match of_der(octets) {
            Err(_) if Point::from_public_key_der(octets).is_ok() => Err(InvalidKeyPair::PublicOnly),
            key => key,
        },
        _ if curve::is_uncompressed(octets) => Err(InvalidKeyPair::PublicOnly),
        _ => Err(InvalidKeyPair::NotAKey),
    }
}

/// Base64 of either alphabet, in lines or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    text::decode_leniently(&text.split_whitespace().collect::<String>())
}

/// The private key in the JSON of `web-push generate-vapid-keys --json`, or in a JWK.
fn named_in_json(text: &str) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let named = |name: &&str| members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name));
    PRIVATE.iter().find_map(named).and_then(|(_, value)| value.as_str().map(str::to_owned))
}

/// The value after a name with `private` in it: on the same line, or on the next line with text.
fn labelled(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let value = lines.find_map(|line| {
        let (name, value) = line.split_once([':', '='])?;
        name.to_ascii_lowercase().contains("private").then_some(value)
    })?;
    if unquoted(value).is_empty() { lines.next().map(unquoted) } else { Some(unquoted(value)) }
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'', ',', ';'])
}
