//! The content of a message, as far as visible to a blind service (RFC 8291 section 4, and the `aesgcm` draft
//! before).

use bytes::Bytes;
use http::{HeaderMap, header};
use pushgrid_crypto::encryption::{is_salt_aesgcm, is_sender_key_aesgcm, sender_key_aes128gcm};
use pushgrid_crypto::vapid::PublicKey;
use pushgrid_types::Content;

use super::fault::Fault;
use crate::accept::Sender;

/// Media type of bodies that say in themselves how they are encrypted (draft-thomson-webpush-hpke,
/// draft-thomson-webpush-sym).
const SELF_DESCRIBED: &str = "application/webpush-message";

/// The header fields needed by the user agent to read the body.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    encoding: Option<Box<str>>,
    encryption: Parameters,
    crypto_key: Parameters,
    content_type: Option<Box<str>>,
    /// Bodies with an unknown encoding, or none, are refused.
    strict: bool,
}

/// Reads the fields about the body.
pub(super) fn envelope(fields: &HeaderMap, strict: bool) -> Result<Envelope, Fault> {
    let mut encodings = fields.get_all(header::CONTENT_ENCODING).iter();
    let encoding = encodings.next().map(text).transpose()?.map(str::trim);
    if encodings.next().is_some() {
        return Err(Fault::Encoding("Content-Encoding must come once"));
    }
    Ok(Envelope {
        encoding: encoding.filter(|encoding| !encoding.is_empty()).map(Into::into),
        encryption: Parameters::read(fields, "encryption")?,
        crypto_key: Parameters::read(fields, "crypto-key")?,
        content_type: fields.get(header::CONTENT_TYPE).map(text).transpose()?.map(Into::into),
        strict,
    })
}

fn text(value: &http::HeaderValue) -> Result<&str, Fault> {
    value.to_str().map_err(|_| Fault::Encoding("header fields about the content must be visible ASCII"))
}

impl Envelope {
    /// Joins the fields to the body, in the form for the user agent.
    pub(super) fn seal(self, body: Bytes, sender: &Sender) -> Result<Content, Fault> {
        if body.is_empty() {
            // A message without content: there is nothing to decrypt (RFC 8030 section 6).
            return Ok(Content::default());
        }
        let sender = sender.vapid_key.as_ref();
        match self.encoding.as_deref().map(Encoding::of) {
            Some(Encoding::Aes128gcm) => self.seal_aes128gcm(body, sender),
            Some(Encoding::Aesgcm) => self.seal_aesgcm(body, sender),
            Some(Encoding::Other) if self.strict => {
                Err(Fault::Encoding("Content-Encoding must be aes128gcm (or aesgcm): encrypt the message"))
            }
            None if self.strict && !self.is_self_described() => Err(Fault::Encoding(
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

    fn is_self_described(&self) -> bool {
        let essence = self.content_type.as_deref().and_then(|text| text.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(SELF_DESCRIBED))
    }

    fn seal_aes128gcm(self, body: Bytes, sender: Option<&PublicKey>) -> Result<Content, Fault> {
        if self.encryption.has("salt") || self.crypto_key.has("dh") {
            return Err(Fault::Encoding(
                "aes128gcm has its salt and key in the body: leave out Encryption, and dh in Crypto-Key",
            ));
        }
        if let Some(sender) = sender
            && sender_key_aes128gcm(&body) == Some(sender.as_octets().as_slice())
        {
            return Err(Fault::SameKey);
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

    fn seal_aesgcm(self, body: Bytes, sender: Option<&PublicKey>) -> Result<Content, Fault> {
        self.check_aesgcm()?;
        if let Some(sender) = sender
            && self.crypto_key.values("dh").any(|dh| PublicKey::from_text(dh).is_ok_and(|dh| dh == *sender))
        {
            return Err(Fault::SameKey);
        }
        Ok(Content {
            body,
            encoding: self.encoding,
            encryption: Some(self.encryption.to_text()),
            //= RFC 8292 section 4.2
            //# A push service MUST NOT forward the JWT or public key to the user agent when delivering the
            //# push message.
            crypto_key: Some(self.crypto_key.without("p256ecdsa").to_text()),
            content_type: self.content_type,
            trace_parent: None,
        })
    }
}

impl Envelope {
    /// Refuses a message that no user agent could decrypt, while the sender still listens.
    fn check_aesgcm(&self) -> Result<(), Fault> {
        let (mut salts, mut keys) =
            (self.encryption.values("salt").peekable(), self.crypto_key.values("dh").peekable());
        if salts.peek().is_none() {
            return Err(Fault::Encoding("aesgcm needs a salt: Encryption: salt=..."));
        }
        if keys.peek().is_none() {
            return Err(Fault::Encoding("aesgcm needs the key of the message: Crypto-Key: dh=..."));
        }
        if !salts.all(is_salt_aesgcm) {
            return Err(Fault::Encoding("the salt of aesgcm must be 16 octets in base64url (22 characters)"));
        }
        if !keys.all(is_sender_key_aesgcm) {
            return Err(Fault::Encoding(
                "the dh of aesgcm must be an uncompressed point of P-256 in base64url (65 octets, 87 characters)",
            ));
        }
        Ok(())
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

/// The value of `Encryption` or `Crypto-Key` of the draft: entries between commas, parameters between
/// semicolons. User agents want values without the quotes and padding added by some senders.
#[derive(Debug, Default)]
struct Parameters(Vec<Vec<(Box<str>, Box<str>)>>);

impl Parameters {
    fn read(fields: &HeaderMap, name: &'static str) -> Result<Self, Fault> {
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

    const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdA";
    const DH: &str =
        "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";

    const NO_FIELDS: &[(&str, &str)] = &[];

    fn sealed(fields: &[(&'static str, impl AsRef<str>)], body: &'static [u8]) -> Result<Content, Fault> {
        sealed_where(true, fields, body)
    }

    fn sealed_where(
        strict: bool,
        fields: &[(&'static str, impl AsRef<str>)],
        body: &'static [u8],
    ) -> Result<Content, Fault> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value.as_ref()).unwrap());
        }
        envelope(&map, strict)?.seal(Bytes::from_static(body), &Sender::ANONYMOUS)
    }

    // Holds: B-06.
    #[test]
    fn an_empty_body_needs_no_encoding_and_carries_none() {
        assert_eq!(sealed(NO_FIELDS, b"").unwrap(), Content::default());
        assert_eq!(sealed(&[("content-encoding", "br")], b"").unwrap(), Content::default());
    }

    // Holds: B-03, B-14.
    #[test]
    fn a_vapid_key_beside_aes128gcm_is_normal_and_a_message_key_is_not() {
        let aes128gcm = ("content-encoding", "AES128GCM");
        let content = sealed(&[aes128gcm, ("crypto-key", "p256ecdsa=AAAA")], b"x").unwrap();
        assert_eq!(content.encoding.as_deref(), Some("AES128GCM"));
        assert_eq!(content.crypto_key, None);
        assert!(sealed(&[aes128gcm, ("crypto-key", "dh=AAAA")], b"x").is_err());
        assert!(sealed(&[aes128gcm, ("encryption", "salt=AAAA")], b"x").is_err());
    }

    // Holds: A-30, B-16, B-17, B-18, C-34.
    #[test]
    fn the_deployed_forms_of_aesgcm_reach_the_user_agent_bare_and_without_the_sender() {
        let aesgcm = ("content-encoding", "aesgcm");
        let salt = ("encryption", format!("salt=\"{SALT}==\""));
        for crypto_key in [
            format!("dh={DH};p256ecdsa=QkJC"),
            format!("dh={DH}; p256ecdsa=QkJC"),
            format!("p256ecdsa=QkJC,dh={DH}"),
            format!("dh=\"{DH}=\""),
        ] {
            let fields = [(aesgcm.0, aesgcm.1.to_owned()), salt.clone(), ("crypto-key", crypto_key.clone())];
            let content = sealed(&fields, b"x").unwrap();
            assert_eq!(content.encryption, Some(format!("salt={SALT}").into()));
            assert_eq!(content.crypto_key, Some(format!("dh={DH}").into()), "{crypto_key}");
        }
    }

    // Holds: B-15.
    #[test]
    fn what_no_user_agent_could_decrypt_is_refused() {
        let refused = |salt: &str, dh: &str, why: &str| {
            let fields = [
                ("content-encoding", "aesgcm".to_owned()),
                ("encryption", salt.to_owned()),
                ("crypto-key", dh.to_owned()),
            ];
            match sealed(&fields, b"x") {
                Err(Fault::Encoding(text)) => assert!(text.contains(why), "{salt} {dh}: {text}"),
                other => panic!("{salt} {dh}: {other:?}"),
            }
        };
        let (salt, dh) = (format!("salt={SALT}"), format!("dh={DH}"));
        refused("", &dh, "needs a salt");
        refused("rs=4096", &dh, "needs a salt");
        refused(&salt, "", "needs the key");
        for short in ["salt=", "salt=AAAA", "salt=\"\"", &format!("salt={SALT}AAAA"), "salt=?"] {
            refused(short, &dh, "16 octets");
        }
        refused(&format!("{salt},salt=AAAA"), &dh, "16 octets");
        let off_the_curve = format!("dh={}A", &DH[..DH.len() - 1]);
        for short in ["dh=", "dh=QUFB", &format!("dh={}", &DH[..86]), &off_the_curve, &format!("dh={DH}AAAA")]
        {
            refused(&salt, short, "uncompressed point");
        }
        refused(&salt, &format!("{dh},dh=QUFB"), "uncompressed point");
    }

    // Holds: B-05.
    #[test]
    fn a_body_whose_media_type_says_how_it_is_encrypted_needs_no_encoding() {
        for good in ["application/webpush-message", "Application/WebPush-Message ; v=\"1\""] {
            let content = sealed(&[("content-type", good)], b"x").unwrap();
            assert_eq!((content.encoding, content.content_type.as_deref()), (None, Some(good)));
        }
        for bad in ["application/webpush-messages", "text/plain; application/webpush-message", ""] {
            assert!(matches!(sealed(&[("content-type", bad)], b"x"), Err(Fault::Encoding(_))), "{bad}");
        }
        let both = [("content-type", SELF_DESCRIBED), ("content-encoding", "br")];
        assert!(matches!(sealed(&both, b"x"), Err(Fault::Encoding(_))));
    }

    // Holds: A-142, B-02, B-04, B-05, B-20.
    #[test]
    fn a_body_that_is_not_encrypted_is_refused() {
        assert!(sealed(NO_FIELDS, b"x").is_err());
        for bad in ["br", "aes128gcm, gzip", "aesgcm128"] {
            assert!(matches!(sealed(&[("content-encoding", bad)], b"x"), Err(Fault::Encoding(_))), "{bad}");
        }
    }

    // Holds: B-04, B-05, A-142.
    #[test]
    fn an_operator_can_take_bodies_that_are_not_encrypted_as_they_come() {
        assert_eq!(sealed_where(false, NO_FIELDS, b"x").unwrap().encoding, None);
        for encoding in ["br", "aes128gcm, gzip", "aesgcm128"] {
            let content = sealed_where(false, &[("content-encoding", encoding)], b"x").unwrap();
            assert_eq!((content.encoding.as_deref(), &*content.body), (Some(encoding), b"x".as_slice()));
        }
        let aesgcm = [("content-encoding", "aesgcm")];
        assert!(
            matches!(sealed_where(false, &aesgcm, b"x"), Err(Fault::Encoding(_))),
            "what is named is checked"
        );
    }
}
