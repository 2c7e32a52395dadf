//! What the message is, as far as a blind service can see (RFC 8291 section 4, and the `aesgcm` draft before it).

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pushgrid_crypto::encryption::sender_key_aes128gcm;
use pushgrid_crypto::vapid::PublicKey;
use pushgrid_types::Content;

use crate::refusal::Refusal;

/// The header fields that the user agent needs to read the body.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    encoding: Option<Box<str>>,
    encryption: Parameters,
    crypto_key: Parameters,
    content_type: Option<Box<str>>,
    /// Bodies with an unknown encoding, or none, are refused.
    strict: bool,
}

/// A body that says it is too large is refused before it is sent.
pub(super) fn check_length(fields: &HeaderMap, limit: usize) -> Result<(), Refusal> {
    let length =
        fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > limit as u64 => Err(Refusal::TooLarge { limit }),
        _ => Ok(()),
    }
}

/// Reads what the fields say about the body.
pub(super) fn envelope(fields: &HeaderMap, strict: bool) -> Result<Envelope, Refusal> {
    let mut encodings = fields.get_all(header::CONTENT_ENCODING).iter();
    let encoding = encodings.next().map(text).transpose()?.map(str::trim);
    if encodings.next().is_some() {
        return Err(Refusal::Encoding("Content-Encoding must come once"));
    }
    Ok(Envelope {
        encoding: encoding.filter(|encoding| !encoding.is_empty()).map(Into::into),
        encryption: Parameters::read(fields, "encryption")?,
        crypto_key: Parameters::read(fields, "crypto-key")?,
        content_type: fields.get(header::CONTENT_TYPE).map(text).transpose()?.map(Into::into),
        strict,
    })
}

/// Reads the body, and counts while it comes.
pub(super) async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { limit }),
        Ok(Err(_cut_short)) => Err(Refusal::BrokenBody),
        Err(_elapsed) => Err(Refusal::SlowBody),
    }
}

fn text(value: &http::HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map_err(|_| Refusal::Encoding("header fields about the content must be visible ASCII"))
}

impl Envelope {
    /// Joins the fields to the body, as the user agent will get them.
    pub(super) fn seal(self, body: Bytes, sender: Option<&PublicKey>) -> Result<Content, Refusal> {
        if body.is_empty() {
            // A message without content: there is nothing to decrypt (RFC 8030 section 6).
            return Ok(Content::default());
        }
        match self.encoding.as_deref().map(Encoding::of) {
            Some(Encoding::Aes128gcm) => self.seal_aes128gcm(body, sender),
            Some(Encoding::Aesgcm) => self.seal_aesgcm(body, sender),
            Some(Encoding::Other) if self.strict => {
                Err(Refusal::Encoding("Content-Encoding must be aes128gcm (or aesgcm): encrypt the message"))
            }
            None if self.strict => Err(Refusal::Encoding(
                "Content-Encoding is missing: encrypt the message, and say aes128gcm (or aesgcm)",
            )),
            Some(Encoding::Other) | None => Ok(Content {
                body,
                encoding: self.encoding,
                encryption: None,
                crypto_key: None,
                content_type: self.content_type,
                trace_parent: None,
            }),
        }
    }

    fn seal_aes128gcm(self, body: Bytes, sender: Option<&PublicKey>) -> Result<Content, Refusal> {
        if self.encryption.has("salt") || self.crypto_key.has("dh") {
            return Err(Refusal::Encoding(
                "aes128gcm has its salt and key in the body: leave out Encryption, and dh in Crypto-Key",
            ));
        }
        if let Some(sender) = sender
            && sender_key_aes128gcm(&body) == Some(sender.as_octets().as_slice())
        {
            return Err(Refusal::SameKey);
        }
        Ok(Content {
            body,
            encoding: self.encoding,
            encryption: None,
            crypto_key: None,
            content_type: self.content_type,
            trace_parent: None,
        })
    }

    fn seal_aesgcm(self, body: Bytes, sender: Option<&PublicKey>) -> Result<Content, Refusal> {
        if !self.encryption.has("salt") {
            return Err(Refusal::Encoding("aesgcm needs a salt: Encryption: salt=..."));
        }
        if !self.crypto_key.has("dh") {
            return Err(Refusal::Encoding("aesgcm needs the key of the message: Crypto-Key: dh=..."));
        }
        if let Some(sender) = sender
            && self.crypto_key.values("dh").any(|dh| PublicKey::from_text(dh).is_ok_and(|dh| dh == *sender))
        {
            return Err(Refusal::SameKey);
        }
        Ok(Content {
            body,
            encoding: self.encoding,
            encryption: Some(self.encryption.to_text()),
            // Who sent the message is between the sender and the service (RFC 8292 section 4.2).
            crypto_key: Some(self.crypto_key.without("p256ecdsa").to_text()),
            content_type: self.content_type,
            trace_parent: None,
        })
    }
}

#[derive(Debug)]
enum Encoding {
    Aes128gcm,
    Aesgcm,
    Other,
}

impl Encoding {
    fn of(text: &str) -> Self {
        if text.eq_ignore_ascii_case("aes128gcm") {
            Self::Aes128gcm
        } else if text.eq_ignore_ascii_case("aesgcm") {
            Self::Aesgcm
        } else {
            Self::Other
        }
    }
}

/// The value of `Encryption` or `Crypto-Key` of the draft: entries between commas, parameters between semicolons.
/// User agents want them without the quotes and padding that some senders add.
#[derive(Debug, Default)]
struct Parameters(Vec<Vec<(Box<str>, Box<str>)>>);

impl Parameters {
    fn read(fields: &HeaderMap, name: &'static str) -> Result<Self, Refusal> {
        let mut entries = Vec::new();
        for line in fields.get_all(name) {
            for entry in text(line)?.split(',') {
                let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
                let bare = |value: &str| value.trim().trim_matches('"').trim_end_matches('=').into();
                let pairs: Vec<_> =
                    pairs.map(|(key, value)| (key.trim().to_ascii_lowercase().into(), bare(value))).collect();
                if !pairs.is_empty() {
                    entries.push(pairs);
                }
            }
        }
        Ok(Self(entries))
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().flatten().filter(move |(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    fn without(mut self, key: &str) -> Self {
        for entry in &mut self.0 {
            entry.retain(|(name, _)| &**name != key);
        }
        self.0.retain(|entry| !entry.is_empty());
        self
    }

    fn to_text(&self) -> Box<str> {
        let entry = |pairs: &Vec<(Box<str>, Box<str>)>| {
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
        };
        self.0.iter().map(entry).collect::<Vec<_>>().join(",").into()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn sealed(fields: &[(&'static str, &'static str)], body: &'static [u8]) -> Result<Content, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        envelope(&map, true)?.seal(Bytes::from_static(body), None)
    }

    #[test]
    fn an_empty_body_needs_no_encoding_and_carries_none() {
        assert_eq!(sealed(&[], b"").unwrap(), Content::default());
        assert_eq!(sealed(&[("content-encoding", "br")], b"").unwrap(), Content::default());
    }

    #[test]
    fn a_vapid_key_beside_aes128gcm_is_normal_and_a_message_key_is_not() {
        let aes128gcm = ("content-encoding", "AES128GCM");
        let content = sealed(&[aes128gcm, ("crypto-key", "p256ecdsa=AAAA")], b"x").unwrap();
        assert_eq!(content.encoding.as_deref(), Some("AES128GCM"));
        assert_eq!(content.crypto_key, None);
        assert!(sealed(&[aes128gcm, ("crypto-key", "dh=AAAA")], b"x").is_err());
        assert!(sealed(&[aes128gcm, ("encryption", "salt=AAAA")], b"x").is_err());
    }

    #[test]
    fn the_deployed_forms_of_aesgcm_reach_the_user_agent_bare_and_without_the_sender() {
        let aesgcm = ("content-encoding", "aesgcm");
        let salt = ("encryption", "salt=\"c2FsdA==\"");
        for crypto_key in
            ["dh=QUFB;p256ecdsa=QkJC", "dh=QUFB; p256ecdsa=QkJC", "p256ecdsa=QkJC,dh=QUFB", "dh=\"QUFB\""]
        {
            let content = sealed(&[aesgcm, salt, ("crypto-key", crypto_key)], b"x").unwrap();
            assert_eq!(content.encryption.as_deref(), Some("salt=c2FsdA"));
            assert_eq!(content.crypto_key.as_deref(), Some("dh=QUFB"), "{crypto_key}");
        }
        assert!(sealed(&[aesgcm, salt], b"x").is_err());
        assert!(sealed(&[aesgcm, ("crypto-key", "dh=QUFB")], b"x").is_err());
    }

    #[test]
    fn a_body_that_is_not_encrypted_is_refused() {
        assert!(sealed(&[], b"x").is_err());
        for bad in ["br", "aes128gcm, gzip", "aesgcm128"] {
            assert!(matches!(sealed(&[("content-encoding", bad)], b"x"), Err(Refusal::Encoding(_))), "{bad}");
        }
    }
}
