//! The key under which a message replaces another one.

use std::fmt;
use std::str::FromStr;

use crate::Topic;
use crate::limits::{REPLACE_KEY_MAX, REPLACE_NAMESPACE_MAX};

/// Replaces the waiting message of the same subscription and key: a Web Push topic, or a key in the namespace of
/// another dialect. Keys of two namespaces are never equal, so a topic never replaces a collapse key of the same
/// text.
///
/// # Stored form
/// A topic is stored unchanged. Any other key is `namespace:key`: 1 to 8 letters a-z, then text without control
/// characters, 128 octets in all. No topic has a colon, so the first release, which knows topics alone, refuses such
/// a message as damaged and never takes the key for a topic; in Kafka the version of the record says that a newer
/// release wrote the record. An unknown namespace is read and compared like every other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplaceKey(Box<str>);

/// A text other than a replace key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a topic nor a namespace, a colon and a key")]
pub struct InvalidReplaceKey;

/// Divides the namespace from the key.
const COLON: char = ':';

impl ReplaceKey {
    /// The key of a dialect: `namespace` is 1 to 8 letters a-z, the dialect's own.
    pub fn in_namespace(namespace: &str, key: &str) -> Result<Self, InvalidReplaceKey> {
        if Self::is_namespace(namespace) {
            format!("{namespace}{COLON}{key}").parse()
        } else {
            Err(InvalidReplaceKey)
        }
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True of a Web Push topic, as all keys of the first release are.
    pub fn is_topic(&self) -> bool {
        !self.0.contains(COLON)
    }

    fn is_namespace(text: &str) -> bool {
        (1..=REPLACE_NAMESPACE_MAX).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_lowercase())
    }
}

impl From<Topic> for ReplaceKey {
    fn from(topic: Topic) -> Self {
        Self(topic.into_text())
    }
}

impl FromStr for ReplaceKey {
    type Err = InvalidReplaceKey;

    /// Reads the stored form.
    fn from_str(text: &str) -> Result<Self, InvalidReplaceKey> {
        let Some((namespace, key)) = text.split_once(COLON) else {
            return text.parse::<Topic>().map(Self::from).map_err(|_| InvalidReplaceKey);
        };
        let fits = text.len() <= REPLACE_KEY_MAX && !key.is_empty() && !key.contains(char::is_control);
        if fits && Self::is_namespace(namespace) { Ok(Self(text.into())) } else { Err(InvalidReplaceKey) }
    }
}

impl fmt::Debug for ReplaceKey {
    /// A key is the application's own word: not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplaceKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_stored_as_it_is_and_is_no_key_of_another_namespace() {
        let topic = ReplaceKey::from("news".parse::<Topic>().unwrap());
        let keys = [
            topic.clone(),
            ReplaceKey::in_namespace("gcm", "news").unwrap(),
            ReplaceKey::in_namespace("other", "news").unwrap(),
            ReplaceKey::in_namespace("gcm", "other:news").unwrap(),
        ];
        assert_eq!(topic.as_str(), "news");
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(key.as_str().parse(), Ok(key.clone()));
            assert_eq!(key.is_topic(), at == 0);
            assert_eq!(
                key.as_str().parse::<Topic>().is_ok(),
                at == 0,
                "the first release refuses all but topics"
            );
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1);
        }
    }

    #[test]
    fn takes_any_text_of_a_dialect_that_can_be_stored() {
        let longest = "x".repeat(REPLACE_KEY_MAX - 4);
        for good in ["a", "a key: with words", "schlüssel", &longest] {
            assert!(ReplaceKey::in_namespace("gcm", good).is_ok(), "{good:?}");
        }
        for bad in ["", "a\nb", "\0", &format!("{longest}x")] {
            assert!(ReplaceKey::in_namespace("gcm", bad).is_err(), "{bad:?}");
        }
        for bad in ["", "GCM", "a-b", "a:b", "ninechars"] {
            assert!(ReplaceKey::in_namespace(bad, "key").is_err(), "{bad:?}");
        }
        for bad in ["", ":", ":key", "gcm:", "not a topic", &"x".repeat(33)] {
            assert!(bad.parse::<ReplaceKey>().is_err(), "{bad:?}");
        }
    }
}
