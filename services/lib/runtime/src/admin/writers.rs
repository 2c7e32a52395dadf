//! The right to change something through an admin listener: reading metrics is for whoever reaches it, and it is often
//! opened for that.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};
use subtle::ConstantTimeEq;

use crate::config::{Secret, variable};

/// Setting of the token.
const TOKEN: &str = "admin.token";

/// Those who may change something.
#[derive(Debug, Clone)]
pub enum Writers {
    /// Everybody who reaches the listener, for it is at a loopback address.
    Local,
    /// Holders of the token.
    Token(Secret),
    /// Nobody: the listener is open to other machines, and there is no token.
    Nobody,
}

/// A request without the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Sent by a web page.
    #[error("a web page may not change anything here")]
    WebPage,
    /// Without the token, or with another one.
    #[error("send the value of {TOKEN} as Authorization: Bearer …")]
    Token,
    /// Nobody has the right.
    #[error(
        "admin.listen is not a loopback address, so that changes need a token: set {} (or {}_FILE)",
        variable(TOKEN),
        variable(TOKEN)
    )]
    Nobody,
}

impl Writers {
    /// Those of a listener at `listen`: whoever has `token`, if there is one.
    pub fn of(listen: SocketAddr, token: Option<Secret>) -> Self {
        match token {
            Some(token) => Self::Token(token),
            None if listen.ip().to_canonical().is_loopback() => Self::Local,
            None => Self::Nobody,
        }
    }

    /// Admits a request by its header fields. A browser sends `Origin` with every request that changes something, also to
    /// a name that its owner has pointed at this machine.
    pub fn admit(&self, fields: &HeaderMap) -> Result<(), NotAdmitted> {
        if fields.contains_key(ORIGIN) {
            return Err(NotAdmitted::WebPage);
        }
        match self {
            Self::Local => Ok(()),
            Self::Nobody => Err(NotAdmitted::Nobody),
            Self::Token(token) => {
                let given =
                    fields.get(AUTHORIZATION).and_then(|field| field.as_bytes().strip_prefix(b"Bearer "));
                let is_right = given.is_some_and(|given| given.ct_eq(token.expose().as_bytes()).into());
                if is_right { Ok(()) } else { Err(NotAdmitted::Token) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(listen: &str, token: Option<&str>, given: Option<&'static str>) -> Result<(), NotAdmitted> {
        let mut fields = HeaderMap::new();
        if let Some(given) = given {
            fields.insert(AUTHORIZATION, HeaderValue::from_static(given));
        }
        Writers::of(listen.parse().unwrap(), token.map(Secret::new)).admit(&fields)
    }

    #[test]
    fn a_listener_for_others_takes_changes_with_the_token_alone() {
        for local in ["127.0.0.1:9090", "[::1]:9090", "[::ffff:127.0.0.1]:9090"] {
            assert_eq!(admits(local, None, None), Ok(()));
            assert_eq!(admits(local, Some("t"), None), Err(NotAdmitted::Token));
        }
        for open in ["0.0.0.0:9090", "[::]:9090", "10.0.0.1:9090"] {
            assert_eq!(admits(open, None, None), Err(NotAdmitted::Nobody));
            assert_eq!(admits(open, None, Some("Bearer ")), Err(NotAdmitted::Nobody));
            assert_eq!(admits(open, Some("secret"), Some("Bearer secret")), Ok(()));
            for wrong in
                ["Bearer secre", "Bearer secrets", "Bearer Secret", "secret", "Basic secret", "Bearer "]
            {
                assert_eq!(admits(open, Some("secret"), Some(wrong)), Err(NotAdmitted::Token), "{wrong}");
            }
        }
    }

    #[test]
    fn a_web_page_changes_nothing() {
        let mut fields = HeaderMap::new();
        fields.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1:9090"));
        assert_eq!(Writers::Local.admit(&fields), Err(NotAdmitted::WebPage));
    }

    #[test]
    fn a_refusal_names_the_setting() {
        assert!(NotAdmitted::Nobody.to_string().contains("PUSHGRID_ADMIN__TOKEN"));
    }
}
