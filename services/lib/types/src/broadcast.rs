//! Broadcasts: values that a service keeps for all user agents, each an id with the version that is now.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Id of a broadcast, such as `remote-settings/monitor_changes`: parts of A-Z, a-z, 0-9, `-`, `_` and `.`, none of them
/// empty or with a dot in front, joined by slashes; at most 128 characters. Not `errors`, which stands beside ids in the
/// autopush protocol. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastId(Arc<str>);

/// Version of a broadcast, an opaque text: 1 to 200 printable ASCII characters. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroadcastVersion(Arc<str>);

/// A text that is no id of a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a broadcast must be parts of A-Z, a-z, 0-9, -, _ and . joined by /, such as \
     remote-settings/monitor_changes, with at most 128 characters"
)]
pub struct InvalidBroadcastId;

/// A text that is no version of a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the version of a broadcast must be 1 to 200 printable ASCII characters, without a line end")]
pub struct InvalidBroadcastVersion;

/// A broadcast for which a user agent asks, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedBroadcast {
    /// Id of the broadcast; any text.
    pub id: String,
    /// Version that the user agent has, if it has one.
    pub known: Option<String>,
}

impl BroadcastId {
    /// Largest number of characters.
    pub const MAX: usize = 128;

    /// The characters of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BroadcastId {
    type Err = InvalidBroadcastId;

    fn from_str(text: &str) -> Result<Self, InvalidBroadcastId> {
        let is_safe = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_safe);
        if text.len() <= Self::MAX && text != "errors" && text.split('/').all(is_part) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBroadcastId)
        }
    }
}

impl Borrow<str> for BroadcastId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BroadcastVersion {
    /// Largest number of characters.
    pub const MAX: usize = 200;

    /// The characters of the version.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BroadcastVersion {
    type Err = InvalidBroadcastVersion;

    fn from_str(text: &str) -> Result<Self, InvalidBroadcastVersion> {
        let fits = (1..=Self::MAX).contains(&text.len());
        if fits && text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBroadcastVersion)
        }
    }
}

impl fmt::Display for BroadcastVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_in_a_path_and_bounded() {
        for good in ["a", "remote-settings/monitor_changes", "a/b/c.d", &"x".repeat(128)] {
            assert_eq!(good.parse::<BroadcastId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(129);
        for bad in [
            "", "/a", "a/", "a//b", "..", "a/../b", "a/.b", "a b", "a?b", "a%2Fb", "ä", "a\"b", "errors",
            &long,
        ] {
            assert_eq!(bad.parse::<BroadcastId>(), Err(InvalidBroadcastId), "{bad:?}");
        }
    }

    #[test]
    fn a_version_is_any_printable_text_and_bounded() {
        for good in ["1", "\"1700000000000\"", "a b", &"~".repeat(200)] {
            assert_eq!(good.parse::<BroadcastVersion>().unwrap().as_str(), good);
        }
        for bad in ["", "1\n", "\t", "ä", &"x".repeat(201)] {
            assert_eq!(bad.parse::<BroadcastVersion>(), Err(InvalidBroadcastVersion), "{bad:?}");
        }
    }
}
