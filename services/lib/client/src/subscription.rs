//! A subscription as its user agent keeps it: channel, endpoint and secret keys, with a form for files.
//!
//! Invariant: a [`Subscription`] read from a file has valid keys, and `Debug` shows nothing but the channel.

use std::fmt;

use pushgrid_crypto::encryption::{DecryptError, Receiver};
use pushgrid_crypto::vapid;
use pushgrid_types::ChannelId;
use serde::{Deserialize, Serialize};

use crate::{Notification, PushSubscription, text};

/// State that a user agent keeps for one subscription: channel, endpoint and secret keys.
///
/// The serde form holds the private key: a file with one belongs to its owner alone (mode 0600).
#[derive(Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Subscription {
    channel: ChannelId,
    endpoint: String,
    receiver: Receiver,
    restricted_to: Option<vapid::PublicKey>,
}

/// Reason that a notification could not be read. Every one is acknowledged with
/// [`codes::UNDECRYPTABLE`](crate::codes::UNDECRYPTABLE).
#[derive(Debug, thiserror::Error)]
pub enum NotDecrypted {
    /// Neither of the two encodings.
    #[error("the content encoding is neither aes128gcm nor aesgcm")]
    Encoding,
    /// An `aesgcm` message without `Encryption` or `Crypto-Key`.
    #[error("an aesgcm message came without its Encryption or Crypto-Key field")]
    MissingField,
    /// Made for other keys, or damaged.
    #[error("the message does not open with the keys of this subscription")]
    Content(#[source] DecryptError),
}

impl Subscription {
    /// A subscription from the answer to [`register`](crate::UserAgent::register); `restricted_to` is the VAPID key
    /// that was registered.
    pub fn new(
        channel: ChannelId,
        endpoint: String,
        receiver: Receiver,
        restricted_to: Option<vapid::PublicKey>,
    ) -> Self {
        Self { channel, endpoint, receiver, restricted_to }
    }

    /// The channel that notifications name.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// URL for application servers to post to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The VAPID key that the subscription is restricted to; `None` for an open subscription.
    pub fn restricted_to(&self) -> Option<&vapid::PublicKey> {
        self.restricted_to.as_ref()
    }

    /// The part for the application server, without the private key.
    pub fn push_subscription(&self) -> PushSubscription {
        PushSubscription {
            endpoint: self.endpoint.clone(),
            p256dh: self.receiver.p256dh(),
            auth: self.receiver.auth(),
        }
    }

    /// The same as `PushSubscriptionJSON`, on one line.
    pub fn to_json(&self) -> String {
        self.push_subscription().to_json()
    }

    /// The plaintext of a notification (RFC 8291, or the `aesgcm` draft); empty for a notification without a body.
    pub fn decrypt(&self, notification: &Notification) -> Result<Vec<u8>, NotDecrypted> {
        let Some(data) = notification.data.as_ref().filter(|data| !data.is_empty()) else {
            return Ok(Vec::new());
        };
        // Names of encodings have no case (RFC 9110 section 8.4.1), and come as the sender wrote them.
        match notification.encoding.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("aes128gcm") => self.receiver.decrypt_aes128gcm(data).map_err(NotDecrypted::Content),
            Some("aesgcm") => {
                let encryption = notification.encryption.as_deref().ok_or(NotDecrypted::MissingField)?;
                let crypto_key = notification.crypto_key.as_deref().ok_or(NotDecrypted::MissingField)?;
                self.receiver.decrypt_aesgcm(data, encryption, crypto_key).map_err(NotDecrypted::Content)
            }
            Some(_) | None => Err(NotDecrypted::Encoding),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Clone for Subscription {
    fn clone(&self) -> Self {
        let (private, auth) = self.receiver.to_parts();
        Self {
            channel: self.channel,
            endpoint: self.endpoint.clone(),
            receiver: Receiver::from_parts(&private, &auth).expect("its own parts make it again"),
            restricted_to: self.restricted_to,
        }
    }
}

/// Form of a subscription in a file.
#[derive(Serialize, Deserialize)]
struct Saved {
    channel: String,
    endpoint: String,
    private: String,
    auth: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restricted_to: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the saved subscription has no valid {0}")]
struct InvalidSaved(&'static str);

impl From<Subscription> for Saved {
    fn from(subscription: Subscription) -> Self {
        let (private, auth) = subscription.receiver.to_parts();
        Self {
            channel: subscription.channel.to_string(),
            endpoint: subscription.endpoint,
            private: text::encode(&private),
            auth: text::encode(&auth),
            restricted_to: subscription.restricted_to.as_ref().map(vapid::PublicKey::to_text),
        }
    }
}

impl TryFrom<Saved> for Subscription {
    type Error = InvalidSaved;

    fn try_from(saved: Saved) -> Result<Self, InvalidSaved> {
        let private = octets(&saved.private).ok_or(InvalidSaved("private key"))?;
        let auth = octets(&saved.auth).ok_or(InvalidSaved("authentication secret"))?;
        let restricted_to = saved.restricted_to.as_deref().map(vapid::PublicKey::from_text).transpose();
        Ok(Self {
            channel: saved.channel.parse().map_err(|_| InvalidSaved("channel"))?,
            endpoint: saved.endpoint,
            receiver: Receiver::from_parts(&private, &auth).map_err(|_| InvalidSaved("private key"))?,
            restricted_to: restricted_to.map_err(|_| InvalidSaved("VAPID key"))?,
        })
    }
}

fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    text::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pushgrid_crypto::encryption::encrypt_aes128gcm;
    use pushgrid_types::SystemRng;

    use super::*;

    fn subscription() -> Subscription {
        let key = vapid::KeyPair::generate(&SystemRng).public();
        let channel = ChannelId::random(&SystemRng);
        Subscription::new(
            channel,
            "https://push.example.net/push/x".into(),
            Receiver::generate(&SystemRng),
            Some(key),
        )
    }

    fn notification(to: &Subscription, body: Vec<u8>, encoding: &str) -> Notification {
        Notification {
            channel: to.channel(),
            version: "1".into(),
            data: Some(Bytes::from(body)),
            encoding: Some(encoding.into()),
            encryption: None,
            crypto_key: None,
            content_type: None,
        }
    }

    #[test]
    fn what_was_saved_reads_what_was_sent_before() {
        let before = subscription();
        let to = before.push_subscription();
        let body = encrypt_aes128gcm(&SystemRng, &to.p256dh, &to.auth, b"hello").unwrap();
        let saved = serde_json::to_string(&before).unwrap();
        let after: Subscription = serde_json::from_str(&saved).unwrap();
        assert_eq!(after.decrypt(&notification(&after, body, "aes128gcm")).unwrap(), b"hello");
        assert_eq!(after.to_json(), before.to_json());
        assert_eq!(after.restricted_to(), before.restricted_to());
    }

    #[test]
    fn a_damaged_file_is_refused_with_what_is_wrong() {
        let mut saved = serde_json::to_value(subscription()).unwrap();
        saved["auth"] = "AAAA".into();
        let error = serde_json::from_value::<Subscription>(saved).unwrap_err();
        assert_eq!(error.to_string(), "the saved subscription has no valid authentication secret");
    }

    #[test]
    fn foreign_content_is_told_from_a_foreign_encoding() {
        let subscription = subscription();
        let content = subscription.decrypt(&notification(&subscription, vec![7; 200], "AES128GCM"));
        assert!(matches!(content, Err(NotDecrypted::Content(_))));
        let encoding = subscription.decrypt(&notification(&subscription, vec![7; 200], "gzip"));
        assert!(matches!(encoding, Err(NotDecrypted::Encoding)));
        let field = subscription.decrypt(&notification(&subscription, vec![7; 200], "aesgcm"));
        assert!(matches!(field, Err(NotDecrypted::MissingField)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let subscription = subscription();
        let shown = format!("{subscription:?} {:?}", subscription.push_subscription());
        assert!(!shown.contains(subscription.endpoint()) && !shown.contains(&subscription.receiver.auth()));
    }
}
