//! The host of a request, checked before any route sees the request (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
//!
//! Invariant: a request with a missing, repeated, malformed or contradictory host is answered 400. Which hosts are
//! this service's own is not judged.

use std::net::Ipv6Addr;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, StatusCode, Version, header};

/// Fault of the host named by a request (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostFault {
    #[error("the Host header field is missing; name the host that the request is for, as its URL does")]
    Missing,
    #[error("the Host header field must come once")]
    Twice,
    #[error("the host must be a name or an address, with or without a port, such as push.example.com:443")]
    Invalid,
    #[error("Host and :authority name different hosts; leave Host out")]
    Differs,
}

/// A host, and the port if one is named.
#[derive(Debug, PartialEq, Eq)]
struct Host<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

/// Checks the host of a request. Only HTTP/1.0 may leave the host out.
pub(super) fn check(head: &Parts) -> Result<(), HostFault> {
    let mut lines = head.headers.get_all(header::HOST).iter();
    let field = lines.next().map(HeaderValue::as_bytes);
    if lines.next().is_some() {
        return Err(HostFault::Twice);
    }
    let authority = head.uri.authority().map(|it| it.as_str().as_bytes());
    match (head.version, Host::read(field)?, Host::read(authority)?) {
        (Version::HTTP_11, None, _) | (Version::HTTP_2, None, None) => Err(HostFault::Missing),
        (Version::HTTP_2, Some(field), Some(authority)) if !field.is(&authority, head.uri.scheme()) => {
            Err(HostFault::Differs)
        }
        // Over HTTP/1, the host of the target counts and not the field.
        _ => Ok(()),
    }
}

impl HostFault {
    /// The answer to the request.
    pub(super) fn into_response(self) -> axum::response::Response {
        let status = StatusCode::BAD_REQUEST;
        let body = serde_json::json!({
            "code": status.as_u16(),
            "errno": 100,
            "error": status.canonical_reason(),
            "message": self.to_string(),
            "more_info": "https://www.rfc-editor.org/rfc/rfc9112#section-3.2",
        });
        let mut response = axum::response::Response::new(axum::body::Body::from(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<'a> Host<'a> {
    fn read(text: Option<&'a [u8]>) -> Result<Option<Self>, HostFault> {
        text.map(|it| Self::parse(it).ok_or(HostFault::Invalid)).transpose()
    }

    /// Parses `uri-host [ ":" port ]` of RFC 3986; a host of http is not empty, and no user stands before it.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (name, port) = if text.first() == Some(&b'[') {
            let end = text.iter().position(|it| *it == b']')?;
            let address = std::str::from_utf8(&text[1..end]).ok()?;
            address.parse::<Ipv6Addr>().ok()?;
            text.split_at(end + 1)
        } else {
            let end = text.iter().position(|it| *it == b':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            if !is_name(name) {
                return None;
            }
            (name, port)
        };
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port })
    }

    fn is(&self, other: &Self, scheme: Option<&Scheme>) -> bool {
        let usual = match scheme.map(Scheme::as_str) {
            Some("https") => 443,
            _ => 80,
        };
        self.name.eq_ignore_ascii_case(other.name)
            && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }
}

/// True of a `reg-name` of RFC 3986 section 3.2.2 that is not empty; an IPv4 address is one as well.
fn is_name(mut text: &[u8]) -> bool {
    if text.is_empty() {
        return false;
    }
    while let Some((first, rest)) = text.split_first() {
        text = match first {
            b'%' => match rest {
                [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
                _ => return false,
            },
            it if it.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(it) => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(version: Version, target: &str, hosts: &[&[u8]]) -> Result<(), HostFault> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, HeaderValue::from_bytes(host).unwrap());
        }
        check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_http_1_0_does_without_a_host() {
        assert_eq!(checked(Version::HTTP_11, "/", &[]), Err(HostFault::Missing));
        assert_eq!(checked(Version::HTTP_11, "http://x/", &[]), Err(HostFault::Missing));
        assert_eq!(checked(Version::HTTP_2, "/", &[]), Err(HostFault::Missing));
        assert_eq!(checked(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "http://x/", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "/", &[b"x"]), Ok(()));
    }

    #[test]
    fn a_host_comes_once() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(checked(version, "/", &[b"x", b"x"]), Err(HostFault::Twice));
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        let good: [&[u8]; 9] = [
            b"push.example.com",
            b"push.example.com:8080",
            b"localhost:",
            b"127.0.0.1:80",
            b"[::1]",
            b"[2001:db8::1]:443",
            b"under_score",
            b"%C3%BC.example",
            b"x:65535",
        ];
        for host in good {
            assert_eq!(checked(Version::HTTP_11, "/", &[host]), Ok(()), "{}", host.escape_ascii());
            assert_eq!(checked(Version::HTTP_10, "/", &[host]), Ok(()), "{}", host.escape_ascii());
        }
        let bad: [&[u8]; 16] = [
            b"",
            b":80",
            b"a b",
            b"user@x",
            b"x/",
            b"http://x",
            b"x:y",
            b"x:80:80",
            b"x:65536",
            b"x:-1",
            b"::1",
            b"[::1",
            b"[x]",
            b"[::1]x",
            b"%zz",
            "\u{fc}".as_bytes(),
        ];
        for host in bad {
            let expected = Err(HostFault::Invalid);
            assert_eq!(checked(Version::HTTP_11, "/", &[host]), expected, "{}", host.escape_ascii());
            assert_eq!(checked(Version::HTTP_10, "/", &[host]), expected, "{}", host.escape_ascii());
            assert_eq!(checked(Version::HTTP_2, "/", &[host]), expected, "{}", host.escape_ascii());
        }
        assert_eq!(checked(Version::HTTP_2, "http://user@x/", &[]), Err(HostFault::Invalid));
        assert_eq!(checked(Version::HTTP_11, "http://user@x/", &[b"x"]), Err(HostFault::Invalid));
    }

    #[test]
    fn over_http_2_both_names_are_the_same_host() {
        assert_eq!(checked(Version::HTTP_2, "http://x/", &[b"X:80"]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "https://x:443/", &[b"x"]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "http://x/", &[b"y"]), Err(HostFault::Differs));
        assert_eq!(checked(Version::HTTP_2, "http://x/", &[b"x:81"]), Err(HostFault::Differs));
        assert_eq!(checked(Version::HTTP_11, "http://x/", &[b"y"]), Ok(()));
    }
}
