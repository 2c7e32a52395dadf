//! The rules for the URL of a webhook.
//!
//! Invariant: the URL that was judged is the one that is posted to: one parser serves both. A literal in the host is
//! judged here, for the connector resolves none; a name is judged by the resolver, when it is looked up.

use http::Uri;
use http::uri::Scheme;
use pushgrid_types::WebhookUrl;

use crate::address::{Judge, judge};
use crate::host::{Host, parse_host};

/// A text in place of the URL of a webhook. No error shows any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// The URL is too long.
    #[error("the URL of a webhook is too long: name one of at most {} octets", WebhookUrl::MAX)]
    TooLong,
    /// The text is no absolute URL of printable ASCII characters.
    #[error(
        "the webhook is not an absolute URL in ASCII: write one such as https://app.example/receipts, with \
         other characters percent-encoded and the host in punycode"
    )]
    NotAUrl,
    /// The scheme is none that is posted to.
    #[error("the URL of a webhook has to begin with https://")]
    Scheme,
    /// The URL has a user name or a password.
    #[error(
        "the URL of a webhook must not have a user name or password: leave them out, and verify \
         the signature"
    )]
    UserInformation,
    /// The URL has a fragment.
    #[error("the URL of a webhook must not have a fragment: leave out the # and all after it")]
    Fragment,
    /// The host is neither a name nor an address, or the port is no port.
    #[error(
        "the host or port of the webhook is not valid: write a name such as app.example, or an \
         address, and a port of 1 to 65535 if any"
    )]
    Host,
    /// The host is an address of a refused range.
    #[error("the webhook is at a private, local or reserved address: name a host of the public internet")]
    RefusedAddress,
}

/// Rules by which URLs are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    may_connect: Judge,
    allow_http: bool,
}

impl Rules {
    /// The rules under these settings.
    pub(crate) fn new(allow_private: bool, allow_http: bool) -> Self {
        Self { may_connect: judge(allow_private), allow_http }
    }

    /// Parses an acceptable URL.
    pub(crate) fn parse(self, url: &str) -> Result<Uri, InvalidWebhook> {
        if url.len() > WebhookUrl::MAX {
            return Err(InvalidWebhook::TooLong);
        }
        if !url.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(InvalidWebhook::NotAUrl);
        }
        // The parser drops a fragment without a word.
        if url.contains('#') {
            return Err(InvalidWebhook::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidWebhook::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(InvalidWebhook::NotAUrl);
        };
        if *scheme != Scheme::HTTPS && !(self.allow_http && *scheme == Scheme::HTTP) {
            return Err(InvalidWebhook::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(InvalidWebhook::UserInformation);
        }
        let host = authority.host();
        // The parser passes over a port that is none, and the connector would then take the scheme's.
        let has_port = authority.as_str().len() > host.len();
        if has_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(InvalidWebhook::Host);
        }
        match parse_host(host).ok_or(InvalidWebhook::Host)? {
            Host::Address(address) if !(self.may_connect)(address) => Err(InvalidWebhook::RefusedAddress),
            Host::Address(_) | Host::Name => Ok(uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), InvalidWebhook> {
        Rules::new(false, false).parse(url).map(|_| ())
    }

    #[test]
    fn urls_of_the_public_internet_are_taken_as_they_are() {
        for url in [
            "https://app.example/receipts",
            "https://app.example",
            "HTTPS://App.Example./a/b?c=%23d&e",
            "https://app.example:8443/?",
            "https://xn--bcher-kva.example/",
            "https://a_b.0xample/",
            "https://1.example/",
            "https://0x7f.example/",
            "https://8.8.8.8/",
            "https://134744072/",
            "https://[2606:4700::1111]:8443/",
            "https://[::ffff:8.8.8.8]/",
            // Names are judged when they are resolved.
            "https://localhost/",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let longest = format!("https://app.example/{}", "a".repeat(WebhookUrl::MAX - 20));
        assert_eq!(check(&longest), Ok(()));
        assert_eq!(check(&format!("{longest}a")), Err(InvalidWebhook::TooLong));
        for url in ["", "/a", "app.example", "app.example/a", "https:/a", "https://", "https:///a", "//a/b"] {
            assert_eq!(check(url), Err(InvalidWebhook::NotAUrl), "{url}");
        }
        for url in
            ["https://bücher.example/", "https://a.example/ b", "https://a.example/\r\nx", " https://a.b"]
        {
            assert_eq!(check(url), Err(InvalidWebhook::NotAUrl), "{url}");
        }
        for url in ["http://app.example/", "ftp://app.example/", "file://app.example/", "wss://app.example/"]
        {
            assert_eq!(check(url), Err(InvalidWebhook::Scheme), "{url}");
        }
        for url in ["https://a@app.example/", "https://a:b@app.example/", "https://8.8.8.8@127.0.0.1/"] {
            assert_eq!(check(url), Err(InvalidWebhook::UserInformation), "{url}");
        }
        for url in ["https://app.example/#", "https://app.example/a?b#c", "https://app.example#@8.8.8.8"] {
            assert_eq!(check(url), Err(InvalidWebhook::Fragment), "{url}");
        }
        for url in [
            "https://app.example:0/",
            "https://app.example:65536/",
            "https://app.example:/",
            "https://app..example/",
            "https://.example/",
            "https://%31%32%37.0.0.1/",
            "https://a,b.example/",
            "https://256.1.1.1/",
            "https://1.2.3.4.5/",
            "https://08.8.8.8/",
            "https://8.8.8.0x/",
            "https://4294967296/",
            "https://127.0.0.256/",
            "https://app.1/",
            "https://[fe80::1%25eth0]/",
            "https://[v1.a]/",
        ] {
            assert!(
                matches!(check(url), Err(InvalidWebhook::Host | InvalidWebhook::NotAUrl)),
                "{url}: {:?}",
                check(url)
            );
        }
    }

    #[test]
    fn http_is_taken_if_it_is_allowed() {
        let rules = Rules::new(false, true);
        assert!(rules.parse("http://app.example/").is_ok() && rules.parse("https://app.example/").is_ok());
        assert_eq!(rules.parse("http://127.1/").unwrap_err(), InvalidWebhook::RefusedAddress);
        assert_eq!(rules.parse("ftp://app.example/").unwrap_err(), InvalidWebhook::Scheme);
    }
}
