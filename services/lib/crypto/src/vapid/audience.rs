//! The origins that count as this service in the `aud` of a token (RFC 8292 section 2).
//!
//! Invariant: an origin is compared as a whole text, never by a part. The URL comes from the settings; no name is
//! resolved.

use std::net::Ipv6Addr;
use std::sync::Arc;

use idna::AsciiDenyList;

/// The origins that a token may name in `aud`: this service's own, in every form that senders write.
///
/// The forms are the ASCII and the Unicode form of the host, with and without the port (libraries leave the port
/// out), in any case. Another scheme, host or port is another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences {
    /// In lower case.
    accepted: Vec<Box<str>>,
    /// The ASCII form, for people.
    wanted: Arc<str>,
}

/// A text that should have been the public URL of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicUrl {
    /// Another scheme, or none.
    #[error("the public URL must begin with https:// or http://")]
    Scheme,
    /// A name or password in the URL.
    #[error("the public URL must not hold a user name")]
    UserInformation,
    /// No host, or none that is valid.
    #[error("the public URL must have a host name or an address after its scheme")]
    Host,
    /// No number from 1 to 65535 after the colon.
    #[error("the port of the public URL must be a number from 1 to 65535")]
    Port,
}

impl Audiences {
    /// The origins of a service whose endpoints begin with `public_url`. A path in the URL does not matter.
    pub fn of(public_url: &str) -> Result<Self, InvalidPublicUrl> {
        let (scheme, rest) = public_url.split_once("://").ok_or(InvalidPublicUrl::Scheme)?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", 443),
            "http" => ("http", 80),
            _ => return Err(InvalidPublicUrl::Scheme),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(InvalidPublicUrl::UserInformation);
        }
        let (host, port) = split_port(authority)?;
        let [ascii, unicode] = host_forms(host)?;
        let port = port.unwrap_or(default_port);

        let mut accepted = Vec::new();
        for host in [&ascii, &unicode] {
            accepted.push(format!("{scheme}://{host}").into_boxed_str());
            accepted.push(format!("{scheme}://{host}:{port}").into_boxed_str());
        }
        accepted.dedup();
        let wanted = if port == default_port {
            format!("{scheme}://{ascii}")
        } else {
            format!("{scheme}://{ascii}:{port}")
        };
        Ok(Self { accepted, wanted: wanted.into() })
    }

    /// The form to name to people: ASCII, without the scheme's own port.
    pub(super) fn wanted(&self) -> Arc<str> {
        Arc::clone(&self.wanted)
    }

    /// True when a token for this origin is for this service. The whole text is compared, never a part.
    pub(super) fn accept(&self, origin: &str) -> bool {
        let origin = origin.strip_suffix('/').unwrap_or(origin).to_lowercase();
        self.accepted.iter().any(|accepted| **accepted == *origin)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidPublicUrl> {
    // The colons of an IPv6 address are inside brackets.
    let after_brackets = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[after_brackets..].find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    let digits = &port[1..];
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port != 0 => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err(InvalidPublicUrl::Port),
    }
}

/// The ASCII and the Unicode form of a host (RFC 8292 asks for the latter, libraries send the former).
fn host_forms(host: &str) -> Result<[String; 2], InvalidPublicUrl> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| InvalidPublicUrl::Host)?;
        return Ok([format!("[{address}]"), format!("[{address}]")]);
    }
    // As browsers read a host (WHATWG URL): underscores are let through, blanks and the like are not.
    let ascii =
        idna::domain_to_ascii_cow(host.as_bytes(), AsciiDenyList::URL).map_err(|_| InvalidPublicUrl::Host)?;
    let (unicode, fault) = idna::domain_to_unicode(&ascii);
    if ascii.is_empty() || fault.is_err() {
        return Err(InvalidPublicUrl::Host);
    }
    Ok([ascii.into_owned(), unicode])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(public_url: &str, origin: &str) -> bool {
        Audiences::of(public_url).unwrap().accept(origin)
    }

    // Holds: C-13, C-14.
    #[test]
    fn an_origin_is_accepted_in_every_form_of_itself() {
        for public_url in ["https://push.example.net", "HTTPS://Push.Example.Net:443/base/path?x#y"] {
            for same in [
                "https://push.example.net",
                "https://push.example.net/",
                "https://push.example.net:443",
                "HTTPS://PUSH.example.net",
            ] {
                assert!(accepts(public_url, same), "{same}");
            }
            for other in [
                "http://push.example.net",
                "https://push.example.net:8443",
                "https://push.example.net:80",
                "https://push.example.net//",
                "https://push.example.net/x",
                "https://push.example.net.",
                "https://push.example.net.evil.example",
                "https://push.example.net@evil.example",
                "https://push.example.ne",
                "push.example.net",
                " https://push.example.net",
                "null",
                "*",
                "",
            ] {
                assert!(!accepts(public_url, other), "{other}");
            }
        }
    }

    // Holds: C-14, C-15.
    #[test]
    fn on_another_port_the_port_may_be_left_out_but_not_be_wrong() {
        let public_url = "https://push.example.net:8443";
        assert!(accepts(public_url, "https://push.example.net:8443"));
        assert!(accepts(public_url, "https://push.example.net"));
        assert!(!accepts(public_url, "https://push.example.net:443"));
        assert!(accepts("http://localhost:8080", "http://localhost"));
        assert!(!accepts("http://localhost:8080", "https://localhost:8080"));
        assert_eq!(&*Audiences::of(public_url).unwrap().wanted(), public_url);
        assert_eq!(&*Audiences::of("http://LOCALHOST:80/").unwrap().wanted(), "http://localhost");
    }

    // Holds: C-13.
    #[test]
    fn an_international_host_is_accepted_in_both_forms_whichever_is_configured() {
        for public_url in ["https://püsh.example.net:8443", "https://xn--psh-hoa.example.net:8443"] {
            assert!(accepts(public_url, "https://püsh.example.net:8443"), "{public_url}");
            assert!(accepts(public_url, "https://PÜSH.example.net"), "{public_url}");
            assert!(accepts(public_url, "https://xn--psh-hoa.example.net"), "{public_url}");
            assert!(!accepts(public_url, "https://push.example.net"), "{public_url}");
            assert_eq!(&*Audiences::of(public_url).unwrap().wanted(), "https://xn--psh-hoa.example.net:8443");
        }
    }

    #[test]
    fn addresses_are_hosts_too() {
        assert!(accepts("http://127.0.0.1:8080", "http://127.0.0.1:8080"));
        assert!(accepts("http://[0:0::1]:8080/", "http://[::1]:8080"));
        assert!(accepts("http://[::1]", "http://[::1]:80"));
        assert!(accepts("http://push_grid:8080", "http://push_grid:8080"));
    }

    #[test]
    fn what_is_no_public_url_is_refused_with_the_reason() {
        for (bad, reason) in [
            ("", InvalidPublicUrl::Scheme),
            ("push.example.net", InvalidPublicUrl::Scheme),
            ("ftp://push.example.net", InvalidPublicUrl::Scheme),
            ("https://user@push.example.net", InvalidPublicUrl::UserInformation),
            ("https://", InvalidPublicUrl::Host),
            ("https:///path", InvalidPublicUrl::Host),
            ("https://a b", InvalidPublicUrl::Host),
            ("https://[::1", InvalidPublicUrl::Port),
            ("https://[::x]", InvalidPublicUrl::Host),
            ("https://push.example.net:", InvalidPublicUrl::Port),
            ("https://push.example.net:0", InvalidPublicUrl::Port),
            ("https://push.example.net:+1", InvalidPublicUrl::Port),
            ("https://push.example.net:65536", InvalidPublicUrl::Port),
        ] {
            assert_eq!(Audiences::of(bad), Err(reason), "{bad:?}");
        }
    }
}
