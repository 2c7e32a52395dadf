//! Parsing of `Authorization` and `Crypto-Key`: from field lines to a token and a key. No token is verified here.
//!
//! Invariant: a repeated parameter or a second key is an error, never a choice, and quoted strings allocate only for
//! escapes.

use std::borrow::Cow;

use super::{PublicKey, VapidError};
use crate::fields;

/// Largest number of parameters to be read. VAPID knows two; the standard wants unknown ones passed over, not
/// hundreds.
const MAX_PARAMETERS: usize = 32;

const BLANKS: [char; 2] = [' ', '\t'];

/// Credentials of a request: a token, and the public key that must have signed the token.
pub(super) struct Credentials<'a> {
    pub(super) token: Cow<'a, str>,
    pub(super) key: PublicKey,
}

/// The VAPID key of the `Crypto-Key` fields, as written: the only key beside the draft's schemes, and a repeat of `k`
/// beside `vapid`. Fails when there are several.
pub(super) fn advertised_key<'a>(crypto_key: &[&'a str]) -> Result<Option<&'a str>, VapidError> {
    let mut keys = crypto_key
        .iter()
        .flat_map(|field| fields::entries(field).flatten())
        .filter(|(name, _)| name.eq_ignore_ascii_case("p256ecdsa"))
        .map(|(_, key)| key);
    let key = keys.next();
    if keys.next().is_some() { Err(VapidError::RepeatedParameter) } else { Ok(key) }
}

impl<'a> Credentials<'a> {
    /// Reads one `Authorization` field. An unknown scheme is an error that names the right one.
    pub(super) fn read(authorization: &'a str, advertised: Option<&str>) -> Result<Self, VapidError> {
        let authorization = authorization.trim_matches(BLANKS);
        let (scheme, rest) = authorization.split_once(BLANKS).unwrap_or((authorization, ""));
        let rest = rest.trim_start_matches(BLANKS);
        if scheme.eq_ignore_ascii_case("vapid") {
            Self::from_parameters(rest, advertised)
        } else if scheme.eq_ignore_ascii_case("webpush") || scheme.eq_ignore_ascii_case("bearer") {
            // draft-ietf-webpush-vapid-01, and draft-thomson-webpush-vapid before it.
            let key = PublicKey::from_text(advertised.ok_or(VapidError::MissingCryptoKey)?)?;
            Ok(Self { token: Cow::Borrowed(rest), key })
        } else {
            Err(VapidError::OtherScheme)
        }
    }

    /// Reads the parameters of RFC 8292 section 3: `t` and `k`; others have no effect.
    fn from_parameters(text: &'a str, advertised: Option<&str>) -> Result<Self, VapidError> {
        let mut parameters = parameters(text)?;
        let mut take = |wanted: &str| {
            let found = parameters.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            Some(parameters.swap_remove(found).1).filter(|value| !value.is_empty())
        };
        //= RFC 8292 section 3
        //# All unknown or unsupported parameters to "vapid" authentication credentials MUST be ignored.
        let token = take("t").ok_or(VapidError::MissingToken)?;
        let key = PublicKey::from_text(&take("k").ok_or(VapidError::MissingKey)?)?;
        match advertised {
            Some(same) if PublicKey::from_text(same) != Ok(key) => Err(VapidError::DifferentKeys),
            Some(_) | None => Ok(Self { token, key }),
        }
    }
}

/// The parameters of a scheme, `#auth-param` of RFC 9110 section 11.2: names as written, quotes and escapes
/// undone.
fn parameters(mut text: &str) -> Result<Vec<(&str, Cow<'_, str>)>, VapidError> {
    let mut parameters: Vec<(&str, Cow<'_, str>)> = Vec::new();
    loop {
        // A list may have empty elements (RFC 9110 section 5.6.1.2).
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Ok(parameters);
        }
        let (name, rest) = text.split_once('=').ok_or(VapidError::MalformedParameters)?;
        let name = name.trim_end_matches(BLANKS);
        if name.is_empty() || !name.bytes().all(is_token_octet) || parameters.len() == MAX_PARAMETERS {
            return Err(VapidError::MalformedParameters);
        }
        let (value, rest) = value(rest.trim_start_matches(BLANKS)).ok_or(VapidError::MalformedParameters)?;
        if parameters.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(VapidError::RepeatedParameter);
        }
        parameters.push((name, value));
        text = rest.trim_start_matches(BLANKS);
        if !text.is_empty() && !text.starts_with(',') {
            return Err(VapidError::MalformedParameters);
        }
    }
}

/// The value at the start, and the rest of the text.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_string(quoted);
    }
    // `/` and `=` are not in the grammar, but are in keys that are written in standard base64.
    let end = text.bytes().position(|octet| !is_token_octet(octet) && !b"/=".contains(&octet));
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((Cow::Borrowed(value), rest))
}

/// A quoted string (RFC 9110 section 5.6.4) whose first quote was taken off.
fn quoted_string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut unescaped = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            // Next to all quoted strings have no escape, and are passed on as they stand.
            '"' if unescaped.len() == at => return Some((Cow::Borrowed(&text[..at]), &text[at + 1..])),
            '"' => return Some((Cow::Owned(unescaped), &text[at + 1..])),
            '\\' => unescaped.push(letters.next().map(|(_, escaped)| escaped).filter(|&c| is_quotable(c))?),
            other => unescaped.push(Some(other).filter(|&c| is_quotable(c))?),
        }
    }
    None
}

/// True of a character that may stand in a quoted string (RFC 9110 section 5.6.4).
fn is_quotable(letter: char) -> bool {
    letter == '\t' || !letter.is_control()
}

/// `tchar` of RFC 9110 section 5.6.2.
const fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(&str, String)>, VapidError> {
        Ok(parameters(text)?.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
    }

    // Holds: C-03, C-04.
    #[test]
    fn reads_what_rfc_9110_allows() {
        let both = Ok(vec![("t", "a.b-_c".to_owned()), ("k", "d+/e==".to_owned())]);
        for form in [
            "t=a.b-_c, k=d+/e==",
            "t=a.b-_c,k=d+/e==",
            "t = a.b-_c\t,\tk\t=\td+/e==",
            ", ,t=a.b-_c,, k=d+/e==,",
            "t=\"a.b-_c\", k=\"d+/e==\"",
            "t=\"a\\.b-_c\", k=\"\\d+/e==\"",
        ] {
            assert_eq!(read(form), both, "{form:?}");
        }
        assert_eq!(read(r#"realm="x, \"y\" \\", t="#).unwrap()[0].1, r#"x, "y" \"#);
        assert_eq!(read(""), Ok(vec![]));
    }

    // Holds: C-05.
    #[test]
    fn refuses_what_it_does_not_allow() {
        for bad in [
            "t",
            "=a",
            "t a=b",
            "t=a b",
            "t=\"a",
            "t=\"a\"b",
            "t=\"a\\",
            "t=\"a\nb\"",
            "t=a;k=b",
            "t=ä",
            "t=a\nk=b",
        ] {
            assert_eq!(read(bad), Err(VapidError::MalformedParameters), "{bad:?}");
        }
        for twice in ["t=a, t=a", "t=a, T=b", "x=1, k=2, X=1"] {
            assert_eq!(read(twice), Err(VapidError::RepeatedParameter), "{twice:?}");
        }
        let many = (0..33).map(|i| format!("p{i}=x")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&many), Err(VapidError::MalformedParameters));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, close in "[tk=\", \\\\.a]{0,24}") {
            let _ = parameters(&text);
            let _ = parameters(&close);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[ -~\t]{0,24}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(read(&format!("t=\"{quoted}\", k=x")).unwrap()[0].1.clone(), value);
        }
    }
}
