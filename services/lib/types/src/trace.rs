use std::fmt;
use std::str::FromStr;

/// Where the trace of a message begins: the `traceparent` of its sender (W3C Trace Context section 3.2). It goes with the
/// message from service to service, and never to the user agent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceParent(Box<str>);

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

/// The digits of version, trace id, parent id and flags.
const PARTS: [usize; 4] = [2, 32, 16, 2];

impl TraceParent {
    /// Its text, as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Takes version 00. A later version begins in the same way, and may go on in another, which nobody here could pass on.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let digits = |part: &str| part.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<_> = text.split('-').collect();
        let fits = parts.iter().map(|part| part.len()).eq(PARTS) && parts.iter().all(|part| digits(part));
        let named = |part: &str| part.bytes().any(|octet| octet != b'0');
        if fits && parts[0] == "00" && named(parts[1]) && named(parts[2]) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTraceParent)
        }
    }
}

impl fmt::Debug for TraceParent {
    /// It leads to its sender's own records: not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceParent(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_shows_is_taken_as_it_is() {
        assert_eq!(GOOD.parse::<TraceParent>().unwrap().as_str(), GOOD);
    }

    #[test]
    fn anything_else_is_refused() {
        let zero = |digits: usize| "0".repeat(digits);
        for bad in [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replace("00-4", "ff-4"),
            GOOD.replace("00-4", "01-4"),
            format!("{GOOD}-more"),
            GOOD[..GOOD.len() - 1].to_owned(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero(32)),
            GOOD.replace("00f067aa0ba902b7", &zero(16)),
            GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902bx"),
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }
}
