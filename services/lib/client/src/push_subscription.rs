//! `PushSubscriptionJSON` of the W3C Push API: all that an application server needs to send.
//!
//! Invariant: a text without an endpoint or a key is refused; whether the keys are valid shows only at encryption.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A subscription as an application server keeps one: `PushSubscriptionJSON` of the W3C Push API.
///
/// Parses from that JSON. The keys are checked when a message is encrypted for them.
#[derive(Clone, PartialEq, Eq)]
pub struct PushSubscription {
    /// URL to post messages to.
    pub endpoint: String,
    /// The user agent's public key: base64url of 65 octets.
    pub p256dh: String,
    /// The user agent's authentication secret: base64url of 16 octets.
    pub auth: String,
}

/// A text that should have been a `PushSubscriptionJSON`.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a push subscription: give the JSON of PushSubscription.toJSON(), with endpoint, keys.p256dh and keys.auth"
)]
pub struct InvalidPushSubscription(#[source] serde_json::Error);

#[derive(Serialize, Deserialize)]
struct Json {
    endpoint: String,
    #[serde(rename = "expirationTime", default)]
    expiration_time: Option<f64>,
    keys: Keys,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

impl PushSubscription {
    /// The `PushSubscriptionJSON`, on one line.
    pub fn to_json(&self) -> String {
        let keys = Keys { p256dh: self.p256dh.clone(), auth: self.auth.clone() };
        let json = Json { endpoint: self.endpoint.clone(), expiration_time: None, keys };
        serde_json::to_string(&json).expect("texts have a JSON form")
    }
}

impl FromStr for PushSubscription {
    type Err = InvalidPushSubscription;

    fn from_str(text: &str) -> Result<Self, InvalidPushSubscription> {
        let json: Json = serde_json::from_str(text).map_err(InvalidPushSubscription)?;
        Ok(Self { endpoint: json.endpoint, p256dh: json.keys.p256dh, auth: json.keys.auth })
    }
}

impl fmt::Debug for PushSubscription {
    /// Hides all fields: each is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushSubscription(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: D-18.
    #[test]
    fn a_browsers_json_is_read_and_comes_back() {
        let text = r#"{"endpoint":"https://push.example.net/push/x","expirationTime":null,"keys":{"p256dh":"BP","auth":"A"}}"#;
        let read: PushSubscription = text.parse().unwrap();
        assert_eq!((read.p256dh.as_str(), read.auth.as_str()), ("BP", "A"));
        assert_eq!(read.to_json(), text);
    }

    #[test]
    fn members_that_are_missing_are_named_and_others_are_ignored() {
        let ok = r#"{"endpoint":"e","keys":{"auth":"A","p256dh":"BP","x":1},"more":[]}"#;
        assert!(ok.parse::<PushSubscription>().is_ok());
        let error = r#"{"endpoint":"e","keys":{"auth":"A"}}"#.parse::<PushSubscription>().unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("p256dh"));
    }
}
