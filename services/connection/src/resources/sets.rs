//! The subscription set that a subscribe request names in `Link` (RFC 8030 section 4.1, RFC 8288).

use http::Uri;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use pushgrid_crypto::ResourceAddresses;
use pushgrid_runtime::http::{InvalidLink, linked};
use pushgrid_types::UserAgentId;

/// Relation of a link to a subscription set.
const RELATION: &str = "urn:ietf:params:push:set";

/// Path of a set, before its address.
pub(super) const PATH: &str = "/set/";

/// A `Link` that names something other than one set of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidSet;

impl From<InvalidLink> for InvalidSet {
    fn from(_: InvalidLink) -> Self {
        Self
    }
}

/// The one set that a request names; `None` without any.
pub(super) fn named(head: &Parts, addresses: &ResourceAddresses) -> Result<Option<UserAgentId>, InvalidSet> {
    let host = head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = head.uri.authority().cloned().or(host);
    let mut found = None;
    for target in linked(&head.headers, RELATION)? {
        let path = path_of(target, host.as_ref()).ok_or(InvalidSet)?;
        let address = path.strip_prefix(PATH).ok_or(InvalidSet)?;
        let set = addresses.open_set(address).ok_or(InvalidSet)?;
        if found.replace(set).is_some_and(|other| other != set) {
            return Err(InvalidSet);
        }
    }
    Ok(found)
}

/// Path of a target, relative or of this very origin; no query, no fragment.
fn path_of(target: &str, host: Option<&Authority>) -> Option<String> {
    if target.contains(['?', '#']) {
        return None;
    }
    if let Some(rest) = target.strip_prefix('/')
        && !rest.starts_with('/')
    {
        return Some(target.to_owned());
    }
    let (scheme, rest) = match target.split_once("//") {
        // Relative to the subscribe resource, which is at the root.
        None if target.contains(':') => return None,
        None => return Some(format!("/{target}")),
        Some((scheme, rest)) => (scheme, rest),
    };
    let uri: Uri = format!("http://{rest}").parse().ok()?;
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http:" => Some(80),
        "https:" => Some(443),
        "" => None,
        _ => return None,
    };
    let (named, own) = (uri.authority()?, host?);
    // The scheme is the proxy's in front, and so is a usual port.
    let port = |of: &Authority| of.port_u16().filter(|port| Some(*port) != usual);
    let is_own = named.host().eq_ignore_ascii_case(own.host()) && port(named) == port(own);
    is_own.then(|| uri.path().to_owned())
}

#[cfg(test)]
mod tests {
    use http::header::LINK;
    use http::{HeaderValue, Request};
    use pushgrid_types::{ChannelId, Incarnation, SubscriptionRef, SystemRng};

    use super::*;
    use crate::testing::addresses;

    fn read(addresses: &ResourceAddresses, lines: &[&str]) -> Result<Option<UserAgentId>, InvalidSet> {
        let mut request = Request::post("/subscribe").header(HOST, "push.example:8081");
        for line in lines {
            request = request.header(LINK, HeaderValue::from_str(line).unwrap());
        }
        named(&request.body(()).unwrap().into_parts().0, addresses)
    }

    // Holds: A-23.
    #[test]
    fn a_set_is_read_in_every_form_of_a_link() {
        let (addresses, set) = (addresses(), UserAgentId::random(&SystemRng));
        let path = format!("/set/{}", addresses.seal_set(set));
        let relation = "urn:ietf:params:push:set";
        for line in [
            format!("<{path}>; rel=\"{relation}\""),
            format!("<{path}>;rel={relation}"),
            format!("< {path} > ; REL = \"{}\"", relation.to_uppercase()),
            format!("<{}>; rel=\"next {relation}\"; title=\"a, \\\"b\\\"; c\"", &path[1..]),
            format!("<http://push.example:8081{path}>; rel=\"{relation}\""),
            format!("<https://PUSH.example:8081{path}>; rel=\"{relation}\""),
            format!("<//push.example:8081{path}>; rel=\"{relation}\""),
            format!(", </a>; rel=\"urn:ietf:params:push\", <{path}>; rel=\"{relation}\"; x, </b>; rel=next,"),
            format!("<{path}>; rel=\"{relation}\"; rel=next"),
            format!("</other>; rel=\"{relation}\"; anchor=\"/elsewhere\", <{path}>; rel=\"{relation}\""),
        ] {
            assert_eq!(read(&addresses, &[&line]), Ok(Some(set)), "{line}");
            assert_eq!(read(&addresses, &["</a>; rel=next", &line, &line]), Ok(Some(set)), "{line}");
        }
        for lines in [&[][..], &["</set/x>; rel=next"], &["no link"], &["</x>; rel=next; rel=none"]] {
            assert_eq!(read(&addresses, lines), Ok(None), "{lines:?}");
        }
    }

    // Holds.
    #[test]
    fn anything_but_one_set_of_this_service_is_invalid() {
        let (addresses, foreign) = (addresses(), crate::testing::addresses());
        let (one, other) = (UserAgentId::random(&SystemRng), UserAgentId::random(&SystemRng));
        let (set, second) = (addresses.seal_set(one), addresses.seal_set(other));
        let (channel, incarnation) = (ChannelId::random(&SystemRng), Incarnation::random(&SystemRng));
        let subscription =
            addresses.seal_subscription(&SubscriptionRef { user_agent: one, channel, incarnation });
        let relation = "rel=\"urn:ietf:params:push:set\"";
        for target in [
            "/set/".to_owned(),
            "/set/x".to_owned(),
            format!("/set/{}", foreign.seal_set(one)),
            format!("/set/{subscription}"),
            format!("/s/{subscription}"),
            format!("/s/{set}"),
            format!("/set/{set}/"),
            format!("/set/{set}?x"),
            format!("/set/{set}#x"),
            format!("http://other.example/set/{set}"),
            format!("http://push.example/set/{set}"),
            format!("ftp://push.example:8081/set/{set}"),
            format!("//other.example/set/{set}"),
            "mailto:x".to_owned(),
            "http://".to_owned(),
            String::new(),
        ] {
            let line = format!("<{target}>; {relation}");
            assert_eq!(read(&addresses, &[&line]), Err(InvalidSet), "{line}");
        }
        for line in [
            format!("</set/{set}>; {relation}, </set/{second}>; {relation}"),
            format!("/set/{set}; {relation}"),
            format!("</set/{set}; {relation}"),
            format!("</set/{set}>; rel=\"urn:ietf:params:push:set"),
            format!("</set/{set}> {relation}"),
        ] {
            assert_eq!(read(&addresses, &[&line]), Err(InvalidSet), "{line}");
        }
    }
}
