//! The options of a subscribe request: the body of media type `application/webpush-options+json` (RFC 8292 section 4.1).

use pushgrid_crypto::vapid::{InvalidPublicKey, PublicKey};
use pushgrid_types::Restriction;
use serde::Deserialize;

/// Media type of the options.
pub const MEDIA: &str = "application/webpush-options+json";

/// Fault of a body of options.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// Not a JSON object, or `vapid` is something other than a text.
    #[error("the body must be one JSON object, such as {{\"vapid\": \"a public key\"}}")]
    Json,
    /// The key cannot be used.
    #[error("\"vapid\" is not a VAPID public key: {0}")]
    Key(#[source] InvalidPublicKey),
}

/// All members that mean something here.
#[derive(Deserialize)]
struct Options {
    vapid: Option<String>,
}

/// The restriction that a body of options asks for; none without `vapid`. Other members are passed over.
pub fn restriction(body: &[u8]) -> Result<Restriction, InvalidOptions> {
    // A list would pass for the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(InvalidOptions::Json);
    }
    //= RFC 8292 section 4.1
    //# For the "application/webpush-options+json" media type, a push service MUST ignore any members on
    //# this object that it does not understand.
    let Options { vapid } = serde_json::from_slice(body).map_err(|_| InvalidOptions::Json)?;
    let Some(key) = vapid else { return Ok(Restriction::Open) };
    let key = PublicKey::from_text(&key).map_err(InvalidOptions::Key)?;
    Ok(Restriction::VapidKey(key.hash()))
}

/// True if a `Content-Type` names [`MEDIA`], with any parameters and in any case.
pub fn is_options(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case(MEDIA)
}

#[cfg(test)]
mod tests {
    use pushgrid_crypto::vapid::KeyPair;
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn a_key_restricts_and_anything_else_does_not() {
        let key = KeyPair::generate(&SystemRng).public();
        let with = |vapid: &str| restriction(format!(r#"{{"more":[1],"vapid":{vapid}}}"#).as_bytes());
        let restricted = Restriction::VapidKey(key.hash());
        assert_eq!(with(&format!("{:?}", key.to_text())).unwrap(), restricted);
        assert_eq!(with("null").unwrap(), Restriction::Open);
        assert_eq!(restriction(b"{}").unwrap(), Restriction::Open);
        assert!(matches!(with("\"BA\""), Err(InvalidOptions::Key(_))));
        for body in [
            &b""[..],
            b"[]",
            b"[null]",
            b"null",
            b"{",
            b"{\"vapid\":5}",
            b"{\"vapid\":null,\"vapid\":null}",
            b"\xff",
        ] {
            assert!(matches!(restriction(body), Err(InvalidOptions::Json)), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_media_type_is_known_in_any_case_and_with_parameters() {
        for known in
            [MEDIA, "Application/WebPush-Options+JSON", "application/webpush-options+json ; charset=utf-8"]
        {
            assert!(is_options(known), "{known}");
        }
        for other in [
            "",
            "application/json",
            "application/webpush-options",
            "text/plain;application/webpush-options+json",
        ] {
            assert!(!is_options(other), "{other}");
        }
    }
}
