//! Header fields of a request that reads: the form of the answer, and its end.

use http::HeaderMap;
use http::header::{ACCEPT, HeaderName};
use pushgrid_runtime::http::preference;
use pushgrid_types::{InvalidUrgency, Urgency};

const URGENCY: HeaderName = HeaderName::from_static("urgency");

/// True if the client names `text/event-stream` among what it accepts. A wildcard is no wish for a stream without end.
pub(super) fn accepts_events(fields: &HeaderMap) -> bool {
    members(fields, &ACCEPT).any(|media| media.eq_ignore_ascii_case("text/event-stream"))
}

/// True with `Prefer: wait=0` (RFC 8030 section 6, RFC 7240 section 4.3): only what waits is wanted.
pub(super) fn wants_no_wait(fields: &HeaderMap) -> bool {
    preference(fields, "wait").is_some_and(|seconds| seconds.parse::<u32>() == Ok(0))
}

/// Least urgency of the messages that are wanted (RFC 8030 section 5.3); without the field, any.
pub(super) fn min_urgency(fields: &HeaderMap) -> Result<Urgency, InvalidUrgency> {
    let mut lines = fields.get_all(URGENCY).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(Urgency::LEAST),
        (Some(word), None) => word.to_str().map_err(|_| InvalidUrgency)?.trim().parse(),
        (Some(_), Some(_)) => Err(InvalidUrgency),
    }
}

/// Each member of a list over any number of lines, without parameters.
fn members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|member| member.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn events_are_accepted_only_by_name() {
        for lines in [&["text/event-stream"][..], &["text/html", "*/*;q=0.1, Text/Event-Stream;q=1"]] {
            assert!(accepts_events(&fields(&ACCEPT, lines)), "{lines:?}");
        }
        for lines in [&[][..], &["*/*"], &["text/*"], &["text/plain;x=text/event-stream"]] {
            assert!(!accepts_events(&fields(&ACCEPT, lines)), "{lines:?}");
        }
    }

    // Holds: A-74.
    #[test]
    fn an_urgency_is_one_of_four_words_once() {
        for (lines, urgency) in
            [(&[][..], Urgency::VeryLow), (&["low"], Urgency::Low), (&["HIGH "], Urgency::High)]
        {
            assert_eq!(min_urgency(&fields(&URGENCY, lines)), Ok(urgency), "{lines:?}");
        }
        for lines in [&["urgent"][..], &["high, low"], &["low", "low"], &[""]] {
            assert!(min_urgency(&fields(&URGENCY, lines)).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn only_a_wait_of_zero_is_no_wait() {
        for lines in [&["wait=0"][..], &["return=minimal, Wait = \"0\"; x=1"], &["a", "wait=00"]] {
            assert!(wants_no_wait(&fields(&HeaderName::from_static("prefer"), lines)), "{lines:?}");
        }
        for lines in [&[][..], &["wait"], &["wait=10"], &["wait=-0"], &["await=0"], &["x; wait=0"]] {
            assert!(!wants_no_wait(&fields(&HeaderName::from_static("prefer"), lines)), "{lines:?}");
        }
    }
}
