//! The members `data` and `headers` of a push message in JSON, the same in every protocol of JSON.
//!
//! No member for an empty body; never the TTL, topic, urgency or VAPID key. `Content-Type` is in `headers` as it came,
//! unless it is `application/octet-stream`.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_types::Content;

/// The media type of a body of which nothing is known: not handed on, for a missing one says the same.
const UNKNOWN_MEDIA: &str = "application/octet-stream";

/// Octets that [`push_members`] adds, rounded up.
pub(crate) fn size(content: &Content) -> usize {
    let headers = headers(content);
    let values: usize =
        headers.iter().filter_map(|(_, value)| value.as_ref()).map(|value| value.len() + 16).sum();
    content.body.len().div_ceil(3) * 4 + values + media(content).map_or(0, |media| media.len() + 24)
}

/// Adds the members, each with a comma in front.
pub(crate) fn push_members(text: &mut String, content: &Content) {
    if content.body.is_empty() {
        return;
    }
    text.push_str(r#","data":""#);
    URL_SAFE_NO_PAD.encode_string(&content.body, text);
    text.push('"');
    push_headers(text, &headers(content), media(content));
}

/// Adds a text as JSON.
pub(crate) fn push_json(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("a string is always JSON"));
}

fn headers(content: &Content) -> [(&'static str, &Option<Box<str>>); 3] {
    //= RFC 8030 section 5.3
    //# The push service MUST NOT forward the Urgency header field to the user agent.
    //= RFC 8030 section 5.4
    //# The value of the Topic header field MUST NOT be forwarded to user agents.
    [
        ("encoding", &content.encoding),
        ("encryption", &content.encryption),
        ("crypto_key", &content.crypto_key),
    ]
}

fn media(content: &Content) -> Option<&str> {
    content.content_type.as_deref().filter(|media| !media.eq_ignore_ascii_case(UNKNOWN_MEDIA))
}

fn push_headers(text: &mut String, headers: &[(&str, &Option<Box<str>>)], media: Option<&str>) {
    let mut separator = r#","headers":{"#;
    let bare = headers.iter().filter_map(|(name, value)| Some((*name, bare(value.as_deref()?))));
    for (name, value) in bare.chain(media.map(|media| ("content_type", Cow::Borrowed(media)))) {
        text.push_str(separator);
        separator = ",";
        write!(text, r#""{name}":"#).expect("a string takes all that is written");
        push_json(text, &value);
    }
    if separator == "," {
        text.push('}');
    }
}

/// Strips quotes and base64 padding from parameter values, as user agents want; leaves all else as it came.
fn bare(value: &str) -> Cow<'_, str> {
    if !value.contains(['"', '=']) {
        return Cow::Borrowed(value);
    }
    let mut bare = String::with_capacity(value.len());
    for part in value.split_inclusive([',', ';']) {
        let (part, end) = match part.strip_suffix([',', ';']) {
            Some(inner) => (inner, &part[inner.len()..]),
            None => (part, ""),
        };
        match part.split_once('=') {
            Some((name, value)) => {
                bare.push_str(name);
                bare.push('=');
                bare.push_str(value.trim().trim_matches('"').trim_end_matches('='));
            }
            None => bare.push_str(part),
        }
        bare.push_str(end);
    }
    Cow::Owned(bare)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bare_values_stay_bare(value in "[ -~]{0,60}") {
            let once = bare(&value).into_owned();
            prop_assert!(bare(&once).len() <= once.len());
        }
    }
}
