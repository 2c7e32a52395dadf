use std::fmt;
use std::str::FromStr;

use crate::limits::TOPIC_MAX;

/// Replaces the waiting message of the same subscription and topic (RFC 8030 section 5.4): 1 to 32 characters of
/// the URL and file name safe base64 alphabet, compared octet by octet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

/// A topic field that is not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Topic must be 1 to 32 characters of A-Z, a-z, 0-9, - and _")]
pub struct InvalidTopic;

impl Topic {
    /// The characters of the topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> Box<str> {
        self.0
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        //= RFC 8030 section 5.4
        //# For use with this protocol, the Topic header field MUST be restricted to no more than 32
        //# characters from the URL and a filename-safe Base 64 alphabet [RFC4648].
        let fits = (1..=TOPIC_MAX).contains(&text.len());
        if fits && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTopic)
        }
    }
}

impl fmt::Debug for Topic {
    /// A topic is the application's own word: not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds.
    #[test]
    fn takes_one_to_thirty_two_safe_characters() {
        for good in ["a", "upd_8-Z", &"x".repeat(32)] {
            assert!(good.parse::<Topic>().is_ok(), "{good:?}");
        }
        for bad in ["", &"x".repeat(33), "a.b", "a+b", "a/b", "a=", "a b", "a,b", "ä"] {
            assert!(bad.parse::<Topic>().is_err(), "{bad:?}");
        }
    }
}
