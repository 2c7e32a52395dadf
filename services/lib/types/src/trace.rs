//! Trace context of a message, as sent.
//!
//! Invariant: a [`TraceParent`] has the form of W3C Trace Context, version 00, and no user agent or metric gets it. Of
//! its parts, spans show the trace id and the parent id: digits of a fixed number, which say nothing else.

use std::fmt;
use std::str::FromStr;

/// The `traceparent` of a message's sender (W3C Trace Context section 3.2). Passed with the message from service to
/// service, and never to the user agent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceParent(Box<str>);

/// A text other than a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

/// The digits of version, trace id, parent id and flags.
const PARTS: [usize; 4] = [2, 32, 16, 2];

impl TraceParent {
    /// The text, as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Id of the whole trace (section 3.2.2.3): 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// Id of the sender's span, the parent of all that the service does (section 3.2.2.4): 16 hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Tells whether the sender may have recorded its part of the trace (section 3.2.2.5.1).
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Takes version 00 only. A later version begins in the same way, but may go on in a form unknown here, which
    /// cannot be passed on.
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
    /// Hides the text, which leads to the sender's own records.
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
    fn its_parts_are_those_of_the_text() {
        let parent: TraceParent = GOOD.parse().unwrap();
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.parent_id(), "00f067aa0ba902b7");
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let parent: TraceParent = format!("{}{flags}", &GOOD[..53]).parse().unwrap();
            assert_eq!(parent.is_sampled(), is_sampled, "{flags}");
        }
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
